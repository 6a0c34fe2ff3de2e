"""Nearest neighbours across languages, by cosine and by CSLS, and how often they are right.

Similarities closer together than ``TIE`` are ties, and of tied targets the first one counts. A model that gives every
text the same vector so finds the first target for all of them, and scores one in n.

Reference:
    Conneau et al., "Word Translation Without Parallel Data", ICLR 2018, section 2.3,
    https://arxiv.org/abs/1710.04087 (CSLS).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vectors = NDArray[np.floating]
TIE: Final = 1e-6
"""Cosines of float32 vectors are good to about a tenth of this."""
_TILE: Final = 1 << 24
"""Similarities held at once: 64 MiB."""


def cosine_nearest(queries: Vectors, targets: Vectors) -> NDArray[np.int64]:
    """Of each query, the target with the largest cosine.

    Args:
        queries: (n, d) of any length; zero vectors are as far from everything.
        targets: (m, d), m at least 1.

    Returns:
        (n,) places in ``targets``; of tied ones the first.

    Raises:
        ValueError: Shapes do not fit, or a value is not finite.
    """
    sources, goals = _units(queries, targets)
    return _best(sources, goals, np.zeros(len(goals), dtype=np.float32))


def csls(
    queries: Vectors, targets: Vectors, *, sources: Vectors | None = None, neighbours: int = 10
) -> NDArray[np.int64]:
    """Of each query, the target with the largest cross-domain similarity local scaling.

    ``2 cos(x, y) - r_T(x) - r_S(y)``: the mean cosine of a target to its nearest sources is taken off, so that targets
    which are near to everything no longer win everywhere. (That of a query to its nearest targets is the same for all
    targets, and left out.)

    Args:
        queries: (n, d).
        targets: (m, d), m at least 1.
        sources: (s, d) among which the targets' neighbours are sought: for word translation the whole vocabulary of
            the queries' language. None: the queries.
        neighbours: How many; all where there are fewer. 10 as in the paper.

    Returns:
        (n,) places in ``targets``; of tied ones the first.

    Raises:
        ValueError: Shapes do not fit, a value is not finite, or ``neighbours`` is below 1.
    """
    if neighbours < 1:
        raise ValueError(f"CSLS takes at least one neighbour, not {neighbours}.")
    asked, goals = _units(queries, targets)
    around = asked if sources is None else _units(sources, targets)[0]
    return _best(asked, goals, _local_means(goals, around, neighbours) / np.float32(2))


def retrieval_accuracy(found: ArrayLike, gold: ArrayLike | None = None) -> float:
    """Share of queries that found their target.

    Args:
        found: (n,) places, as ``cosine_nearest`` gives them.
        gold: (n,) the right places. None: each query's own place, for parallel sentences.

    Raises:
        ValueError: Nothing to score, or different lengths.
    """
    places = np.asarray(found)
    truth = np.arange(len(places)) if gold is None else np.asarray(gold)
    if places.shape != truth.shape:
        raise ValueError(f"{places.shape} targets were found for {truth.shape} queries.")
    return _share(places == truth)


def precision_at_1(found: ArrayLike, accepted: Sequence[Collection[int]]) -> float:
    """Share of words whose nearest neighbour is one of their translations.

    Args:
        found: (n,) places in the target vocabulary.
        accepted: Of each word, the places of all its translations; empty where the vocabulary has none, which counts
            as missed.

    Raises:
        ValueError: Nothing to score, or different lengths.
    """
    return _share(translation_hits(found, accepted))


def translation_hits(found: ArrayLike, accepted: Sequence[Collection[int]]) -> NDArray[np.bool_]:
    """Whether each word's nearest neighbour is one of its translations: what ``precision_at_1`` averages.

    Args:
        found: (n,) places in the target vocabulary.
        accepted: Of each word, the places of all its translations.

    Returns:
        (n,)

    Raises:
        ValueError: Different lengths.
    """
    places = np.asarray(found)
    if places.shape != (len(accepted),):
        raise ValueError(f"{places.shape} targets were found for {len(accepted)} words.")
    return np.array(
        [place in right for place, right in zip(places.tolist(), accepted, strict=True)], dtype=bool
    )


def _share(hits: NDArray[np.bool_]) -> float:
    if not hits.size:
        raise ValueError("There are no queries to score.")
    return float(np.mean(hits))


def _units(queries: Vectors, targets: Vectors) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if queries.ndim != 2 or targets.ndim != 2 or queries.shape[1] != targets.shape[1] or not len(targets):
        raise ValueError(
            f"Queries (n, d) and targets (m, d) share a width, and there is a target; these are {queries.shape} "
            f"and {targets.shape}."
        )
    return _unit(queries, "query"), _unit(targets, "target")


def _unit(vectors: Vectors, name: str) -> NDArray[np.float32]:
    """(n, d) each of length 1; zero vectors stay."""
    wide = vectors.astype(np.float64)
    largest = np.abs(wide).max(axis=1, keepdims=True, initial=0.0)
    if not np.isfinite(largest).all():
        row = int(np.flatnonzero(~np.isfinite(largest[:, 0]))[0])
        raise ValueError(f"The vector of {name} {row} is not finite.")
    wide /= np.where(largest > 0, largest, 1.0)  # so that squares neither overflow nor vanish
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    return (wide / np.where(norms > 0, norms, 1.0)).astype(np.float32)


def _best(
    queries: NDArray[np.float32], targets: NDArray[np.float32], penalties: NDArray[np.float32]
) -> NDArray[np.int64]:
    """(n,) first target whose cosine less its penalty is within ``TIE`` of the largest."""
    found = np.zeros(len(queries), dtype=np.int64)
    for begin, cosines in _tiles(queries, targets):
        cosines -= penalties
        nearly = cosines >= cosines.max(axis=1, keepdims=True) - TIE
        found[begin : begin + len(cosines)] = nearly.argmax(axis=1)
    return found


def _local_means(
    targets: NDArray[np.float32], sources: NDArray[np.float32], neighbours: int
) -> NDArray[np.float32]:
    """(m,) mean cosine of each target to its nearest sources; 0 where there are no sources."""
    means = np.zeros(len(targets), dtype=np.float32)
    taken = min(neighbours, len(sources))
    if taken:
        for begin, cosines in _tiles(targets, sources):
            nearest = np.partition(cosines, -taken, axis=1)[:, -taken:]
            means[begin : begin + len(cosines)] = nearest.mean(axis=1)
    return means


def _tiles(
    rows: NDArray[np.float32], columns: NDArray[np.float32]
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Cosines of some rows with all columns, so many at a time as ``_TILE`` allows, and where they begin."""
    height = max(1, _TILE // len(columns))
    for begin in range(0, len(rows), height):
        yield begin, rows[begin : begin + height] @ columns.T
