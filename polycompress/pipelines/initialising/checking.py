"""What a plan must satisfy before it is carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.initialising.plans import Rule
from polycompress.errors import InputError
from polycompress.modeldir.axes_table import FAMILIES
from polycompress.pipelines.initialising.request import OfaSettings
from polycompress.pipelines.initialising.spaces import GivenVectors
from polycompress.pipelines.initialising.target import Target
from polycompress.pipelines.initialising.tokens_plan import TokensPlan
from polycompress.pipelines.trimming.loading import OpenModel
from polycompress.vocab.document import pieces

MOST_FALLEN: Final = 0.5
"""Share of a language's new tokens, and of all, that may be drawn at random."""
_SHOWN: Final = 8
_ADVICE: Final = {
    "source": "Give vectors of these languages in one space (polycompress vectors train, then vectors align), or take "
    "--init pieces, which needs none",
    "source_pieces": "The model's tokenizer has no pieces for these tokens: their characters are unknown to it. Give "
    "--vectors and take --init ofa",
    "auxiliary": "Too few of them are in the text, or too few tokens that both tokenizers have: give more --corpus",
}
"""What to do, by what a way needs first."""


def check_plan(
    plan: TokensPlan,
    target: Target,
    given: GivenVectors | None,
    used: Mapping[str, NDArray[np.bool_]],
    *,
    force: bool,
) -> list[str]:
    """Refuse a plan by which too many rows are drawn.

    Args:
        plan: The plan.
        target: The new tokenizer.
        given: Word vectors, if there are any.
        used: By language code, (V_t,) tokens that it holds.
        force: Whether to go on all the same.

    Returns:
        Notes on what is as it should not be.

    Raises:
        InputError: Vectors have nothing in common with a tokenizer, or more than half of the new tokens, of one
            language or of all, would be drawn; all faults are named.
    """
    if not plan.way.needs:  # drawn on purpose
        return []
    told: list[str] = []
    if given is not None and "source" in plan.way.needs and plan.covered is not None:
        _check_overlap(plan.covered, given)
    missing = _without_vectors(plan, target, given)
    fallen, new = int(plan.fallen.sum()), int((plan.new & plan.textual).sum())
    if new and fallen > MOST_FALLEN * new:
        told.append(f"{fallen:,} of {new:,} new tokens fall back to random rows{missing}")
    asked = {each.code for each in target.languages}
    for code, (own, of) in plan.fallen_by_language({c: m for c, m in used.items() if c in asked}).items():
        if of and own > MOST_FALLEN * of:
            lacking = given is not None and "source" in plan.way.needs and code not in given.vectors.languages
            why = f": there are no vectors of {code}" if lacking else ""
            told.append(f"{code}: {own:,} of its {of:,} new tokens fall back to random rows{why}")
    if told and not force:
        raise InputError("\n".join(told) + f"\n{_ADVICE[plan.way.needs[0]]}; --force goes on as it is")
    return told


def check_vectors(given: GivenVectors | None, settings: OfaSettings) -> list[str]:
    """Refuse vectors of several languages that nobody brought to one space.

    Returns:
        Notes on them, where it goes on all the same.

    Raises:
        InputError: There are such, similarities in them are asked for, and it was not forced.
    """
    if given is None or "source" not in settings.way.needs:
        return []
    told = [
        f"{path}: the vectors of its languages were not brought to one space, so what is near in them means nothing "
        "across languages"
        for path in given.unaligned
    ]
    if told and not settings.force:
        raise InputError(
            "\n".join(told)
            + f". Run polycompress vectors align {given.unaligned[0]} --to en --out ALIGNED, with "
            "--pairs or --lexicon; --force takes them as they are"
        )
    return told


def special_notes(plan: TokensPlan, target: Target) -> list[str]:
    """Which special tokens have no counterpart in the source."""
    drawn = np.flatnonzero(plan.tokens & ~plan.textual & (plan.rows.rule == Rule.SAMPLED))
    if not len(drawn):
        return []
    names = pieces(target.document)
    shown = ", ".join(str(names[number]) for number in drawn[:_SHOWN].tolist())
    more = f" and {len(drawn) - _SHOWN} more" if len(drawn) > _SHOWN else ""
    return [f"special tokens without a counterpart in the source have random rows: {shown}{more}"]


def check_positions(opened: OpenModel, mapping: Mapping[int, int]) -> None:
    """Refuse a tokenizer that would move every position of the model.

    Args:
        opened: The source.
        mapping: Source id -> id of the token that takes its place.

    Raises:
        InputError: The family counts positions from the padding token's id, and that changes.
    """
    family = FAMILIES[str(opened.config["model_type"])]
    if not family.pad_offsets_positions:
        return
    pad = opened.config.get("pad_token_id", family.token_ids["pad_token_id"])
    now = mapping.get(pad)
    if now != pad:
        has = "has no padding token" if now is None else f"has it at {now}"
        raise InputError(
            f"{opened.source.path}: models of type {opened.config['model_type']!r} count positions from the id of "
            f"their padding token, {pad}; the new tokenizer {has}. Give one with its padding token at {pad}, as "
            "polycompress tokenizer train makes them of the types unigram, bpe and byte-bpe"
        )


def _check_overlap(covered: Mapping[str, int], given: GivenVectors) -> None:
    empty = [name for name in ("source", "target") if not covered[name]]
    if empty:
        whose = " and of ".join(
            {"source": "the model's tokenizer", "target": "the new one"}[name] for name in empty
        )
        words: Sequence[str] = given.vectors.words[:3]
        raise InputError(
            f"the vectors have nothing in common with the tokens of {whose}: none of their {len(given.vectors):,} "
            f"words is made of them (they begin {', '.join(map(repr, words))}). Give vectors of words as they stand "
            "in text"
        )


def _without_vectors(plan: TokensPlan, target: Target, given: GivenVectors | None) -> str:
    if given is None or "source" not in plan.way.needs:
        return ""
    lacking = [each.code for each in target.languages if each.code not in given.vectors.languages]
    return f" (there are no vectors of {', '.join(lacking)})" if lacking else ""
