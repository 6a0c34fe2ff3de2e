"""Whether an alignment is good enough to go on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from polycompress.embeddings.alignment import Matrix
from polycompress.embeddings.lexicons import as_known
from polycompress.embeddings.precision import Precision, accepted_places, precision_at_1
from polycompress.errors import InputError

FLOOR: Final = 0.05
"""Precision at 1, the better of cosine and CSLS, below which an alignment is refused. Chance is one in the words of the
other language; vectors of full encyclopaedias reach 0.4 to 0.8, of a megabyte of text some percent without sentence
pairs."""
FEWEST: Final = 20
"""Words or sentences without which nothing is judged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """How one language fares."""

    by: str
    """``lexicon``: translation of held-out words; ``sentences``: retrieval of held-out sentences; ``nothing``."""
    before: Precision | None
    after: Precision | None

    def as_dict(self) -> dict[str, Any]:
        """All of it, for the record."""
        return {
            "by": self.by,
            "before": self.before.as_dict() if self.before is not None else None,
            "after": self.after.as_dict() if self.after is not None else None,
        }


UNJUDGED: Final = Judged(by="nothing", before=None, after=None)


def translation(
    pairs: Sequence[tuple[str, str]],
    words: tuple[Mapping[str, int], Mapping[str, int]],
    matrices: tuple[Matrix, Matrix],
) -> Precision:
    """Precision at 1 on a lexicon.

    Args:
        pairs: Words and translations.
        words: Places of the words of both languages.
        matrices: Their vectors, rows of length one.
    """
    accepted, of = accepted_places(as_known(pairs, *words), *words)
    return precision_at_1(*matrices, accepted, of=of)


def check_floor(judged: Mapping[str, Judged], floor: float, *, force: bool) -> None:
    """Refuse alignments that are not good enough, all together.

    Raises:
        InputError: One is below the floor, or nothing is there to judge it by, and ``force`` is not given.
    """
    faults = []
    for code, found in judged.items():
        if found.after is None:
            faults.append(f"{code}: nothing to judge by; give a lexicon with --held-out")
        elif found.after.words < FEWEST:
            faults.append(
                f"{code}: only {found.after.words} of the {found.after.of} held-out {_things(found)} have vectors on "
                f"both sides, too few to judge by (at least {FEWEST})"
            )
        elif found.after.best < floor:
            faults.append(
                f"{code}: P@1 is {found.after.best:.3f} on {found.after.words} held-out {_things(found)}, below the "
                f"floor of {floor:g}"
            )
    if faults and not force:
        raise InputError(
            "These vectors are not well enough aligned to go on with:\n  "
            + "\n  ".join(faults)
            + "\nUse vectors of more text, a larger lexicon, or --method joint with --pairs; or pass --force."
        )


def _things(judged: Judged) -> str:
    return "words" if judged.by == "lexicon" else "sentences"
