"""How far an inferred mixture can be trusted, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

MISSING_UNEXPLAINED: Final = 0.05
"""From this share of unexplained merges on a candidate is surely missing: at most 0.011 where none is, 0.06 to 0.22
where a language of 15 % of the text or more is (eval/results/mixture.json)."""
MISSING_VIOLATION: Final = 0.1
"""The same for the violation: at most 0.06 where no candidate is missing, 0.11 to 0.35 where such a language is."""
MISSING_ABSENT: Final = 0.2
"""The same for merges that never occur, where word frequencies stand for a candidate: at most 0.09 where none is
missing, 0.33 to 0.94 where all are others; a single one that is missing is often between the two. (Mixtures and
tokenizers as ``eval/quality/mixture.py`` makes them, of 0.6 MB.) What is unexplained says less there: word lists lack
what joins words."""
HINT_UNEXPLAINED: Final = 0.02
WIDE: Final = 0.05
"""Half an interval of more than five points is wide."""
LITTLE_BYTES: Final = 200_000
"""Less text than this per candidate is little."""
FEW_MERGES: Final = 500
FEW_OWN_MERGES: Final = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class Signs:
    """What the judgement rests on."""

    widest: float
    """Half the width of the widest interval, as a share."""
    unexplained: float
    """Share of merges whose pair hardly occurs where it should be the most frequent."""
    violation: float
    """Total violation by the occurrences of all merges."""
    absent: float
    """Share of merges that never occur in any candidate's text, nor in the words that stand for it."""
    merges: int
    """Merges used."""
    own_merges: Mapping[str, int]
    """Merges that are mostly one candidate's, by candidate; those with a share to speak of."""
    text_bytes: Mapping[str, int]
    """Bytes of text by candidate, those with text."""
    rough: tuple[str, ...]
    """Candidates that word frequencies stand for."""
    trimmed: bool
    """Whether the vocabulary was cut by polycompress."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trust:
    """A judgement."""

    level: Literal["good", "fair", "poor"]
    text: str
    """One or a few sentences."""


def judge(signs: Signs) -> Trust:
    """Say how far to trust shares."""
    serious = _serious(signs)
    doubts = _doubts(signs)
    points = f"{100 * signs.widest:.1f}"
    if serious:
        text = f"Do not take these shares for the whole: {'; '.join([*serious, *doubts])}."
        return Trust(level="poor", text=text)
    found = f"The order of {signs.merges:,} merges fits these candidates"
    if doubts:
        return Trust(level="fair", text=f"{found}, but take the shares with care: {'; '.join(doubts)}.")
    return Trust(
        level="good",
        text=f"{found}, and resampling moves no share by more than {points} points. A language of a few per cent that "
        "is not among them, or whose text was of another kind than yours, can still go unnoticed.",
    )


def _serious(signs: Signs) -> list[str]:
    found = []
    if signs.trimmed:
        found.append("this vocabulary was trimmed, and the merges of other languages are gone")
    if not signs.rough and _is_missing(signs):
        found.append(
            f"{100 * signs.unexplained:.1f} % of the merges hardly occur in any candidate's text, and the order of the "
            f"others is violated by {100 * signs.violation:.1f} % of their occurrences; a language, code, or another "
            "kind of text is missing among the candidates, and they share out what is theirs only"
        )
    if _is_absent(signs):
        found.append(
            f"{100 * signs.absent:.1f} % of the merges never occur in the words that stand for the candidates, nor in "
            "their text; a language, code, or another kind of text is missing among them, and they share out what is "
            "theirs only"
        )
    return found


def _is_absent(signs: Signs) -> bool:
    return bool(signs.rough) and signs.absent > MISSING_ABSENT


def _is_missing(signs: Signs) -> bool:
    return signs.unexplained > MISSING_UNEXPLAINED or signs.violation > MISSING_VIOLATION


def _doubts(signs: Signs) -> list[str]:
    found = []
    if not signs.rough and HINT_UNEXPLAINED < signs.unexplained <= MISSING_UNEXPLAINED:
        found.append(
            f"{100 * signs.unexplained:.1f} % of the merges hardly occur in any candidate's text, so a small part may "
            "come from elsewhere"
        )
    if signs.widest > WIDE:
        found.append(f"resampling moves a share by up to {100 * signs.widest:.1f} points")
    if signs.rough:
        found.append(
            f"word frequencies stand for {', '.join(signs.rough)}, which is rougher than text in a way that the "
            "intervals leave out, and does not tell well whether a candidate is missing (give --corpus)"
        )
    little = [name for name, size in signs.text_bytes.items() if size < LITTLE_BYTES]
    if little:
        found.append(
            f"there is less than {LITTLE_BYTES // 1000} kB of text for {', '.join(little)} (give more)"
        )
    thin = [name for name, merges in signs.own_merges.items() if merges < FEW_OWN_MERGES]
    if thin:
        found.append(f"hardly any merge is mostly the own of {', '.join(thin)}, so that share is a guess")
    if signs.merges < FEW_MERGES:
        found.append(f"only {signs.merges:,} merges could be used")
    return found
