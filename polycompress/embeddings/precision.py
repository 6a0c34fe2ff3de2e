"""How well vectors translate words: precision at 1 on a lexicon."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.alignment import Matrix, nearest


@dataclass(frozen=True, kw_only=True, slots=True)
class Precision:
    """Shares of words whose nearest neighbour is one of their translations."""

    cosine: float
    """By cosine; 0 to 1."""
    csls: float
    """By CSLS; 0 to 1."""
    words: int
    """Asked for: those that have a vector, and a translation that has one."""
    of: int
    """Words of the lexicon."""

    @property
    def best(self) -> float:
        """The larger of the two."""
        return max(self.cosine, self.csls)

    def as_dict(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)


def precision_at_1(
    sources: Matrix, targets: Matrix, accepted: Mapping[int, Collection[int]], *, of: int
) -> Precision:
    """Of each word asked for, whether its nearest neighbour among all targets is one of its translations.

    Args:
        sources: (n, d) rows of length one, of the whole vocabulary that the words are of.
        targets: (m, d) the same.
        accepted: Of each place in ``sources`` asked for, the places of its translations in ``targets``.
        of: Words of the lexicon, those without vectors included.
    """
    asked = np.array(sorted(accepted), np.int64)
    if not len(asked):
        return Precision(cosine=0.0, csls=0.0, words=0, of=of)
    plain, scaled, _ = nearest(sources[asked], targets, sources=sources)
    return Precision(
        cosine=_share(plain, asked, accepted), csls=_share(scaled, asked, accepted), words=len(asked), of=of
    )


def accepted_places(
    pairs: Sequence[tuple[str, str]], sources: Mapping[str, int], targets: Mapping[str, int]
) -> tuple[dict[int, set[int]], int]:
    """Places of words and of their translations.

    Args:
        pairs: Word and translation; a word may have several.
        sources: Places of words.
        targets: Places of translations.

    Returns:
        Of each place of a word those of its translations, where both have one; and how many words there are in all.
    """
    accepted: dict[int, set[int]] = {}
    for word, translation in pairs:
        if word in sources and translation in targets:
            accepted.setdefault(sources[word], set()).add(targets[translation])
    return accepted, len({word for word, _ in pairs})


def _share(
    found: NDArray[np.int64], asked: NDArray[np.int64], accepted: Mapping[int, Collection[int]]
) -> float:
    hits = [place in accepted[word] for word, place in zip(asked.tolist(), found.tolist(), strict=True)]
    return sum(hits) / len(hits)
