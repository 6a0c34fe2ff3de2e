"""Two languages' word vectors in one space: rotations, the neighbours that they are judged by, and refinement.

References:
    Xing et al., "Normalized Word Embedding and Orthogonal Transform for Bilingual Word Translation", NAACL 2015;
    Artetxe et al., "Learning principled bilingual mappings of word embeddings while preserving monolingual
    invariance", EMNLP 2016 (centring); Conneau et al., "Word Translation Without Parallel Data", ICLR 2018, section 2,
    https://arxiv.org/abs/1710.04087 (CSLS, refinement).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
NEIGHBOURS: Final = 10
"""Of CSLS, as in the paper."""
BLOCK_BYTES: Final = 1 << 25
"""Similarities held at once."""
REFINED_WORDS: Final = 5000
"""Most frequent words of each language among which a dictionary is induced."""
MIN_INDUCED: Final = 5
"""Pairs without which a dictionary is none."""


def normalised(matrix: Matrix, mean: Matrix | None = None) -> Matrix:
    """Rows of length one around their mean: scaled, centred, scaled again.

    Args:
        matrix: (n, d) finite; rows of zeros stay.
        mean: (d,) of the scaled rows that are centred on; None: of these.

    Returns:
        (n, d) float32.
    """
    scaled = _unit(matrix)
    return _unit(
        scaled - (scaled.mean(axis=0, dtype=np.float64) if mean is None else mean).astype(np.float32)
    )


def procrustes(x: Matrix, y: Matrix) -> Matrix:
    """The orthogonal matrix that brings rows nearest to others.

    With ``x.T @ y = U S V.T`` (singular values S) it is ``W = U V.T``, which minimises ``||x W - y||`` (Frobenius).

    Args:
        x: (n, d) finite, n at least 1.
        y: (n, d) finite, what the rows of ``x`` are to come near to.

    Returns:
        (d, d) float32; rotations and reflections, whatever fits better.

    Raises:
        ValueError: Shapes do not fit, there are no rows, or a value is not finite.

    Reference:
        Schönemann, "A generalized solution of the orthogonal Procrustes problem", Psychometrika 31, 1966.
    """
    if x.shape != y.shape or x.ndim != 2 or not len(x):
        raise ValueError(f"rows of {x.shape} cannot be brought to rows of {y.shape}")
    product = x.T.astype(np.float64) @ y.astype(np.float64)
    if not np.isfinite(product).all():
        raise ValueError("a value is not finite")
    left, _, right = np.linalg.svd(product)
    return np.asarray(left @ right, np.float32)


def nearest(
    queries: Matrix,
    targets: Matrix,
    *,
    sources: Matrix | None = None,
    neighbours: int = NEIGHBOURS,
    block_bytes: int = BLOCK_BYTES,
) -> tuple[NDArray[np.int64], NDArray[np.int64], Matrix]:
    """Of each query the nearest target, by cosine and by CSLS.

    CSLS of x and y is ``2 cos(x, y) - r_T(x) - r_S(y)``, where ``r_S(y)`` is the mean cosine of y to its nearest
    sources: targets that are near to everything win less. ``r_T(x)`` is the same for all targets and changes nothing.

    Args:
        queries: (n, d) rows of length one, or zeros.
        targets: (m, d) the same, m at least 1.
        sources: (s, d) among which the targets' neighbours are sought: the whole vocabulary that the queries are of.
            None: the queries.
        neighbours: Of ``r_S``; all where there are fewer.
        block_bytes: Similarities held at once; it does not change the result.

    Returns:
        (n,) places by cosine, (n,) places by CSLS, of equal targets the first; (n,) cosines to those by CSLS.

    Raises:
        ValueError: Shapes do not fit, or there is no target.
    """
    if queries.ndim != 2 or targets.ndim != 2 or queries.shape[1] != targets.shape[1] or not len(targets):
        raise ValueError(f"queries of {queries.shape} have no neighbours among targets of {targets.shape}")
    around = mean_similarity(targets, queries if sources is None else sources, neighbours, block_bytes)
    plain, scaled = np.zeros(len(queries), np.int64), np.zeros(len(queries), np.int64)
    cosines = np.zeros(len(queries), np.float32)
    step = max(1, block_bytes // (4 * len(targets)))
    for start in range(0, len(queries), step):
        here = slice(start, start + step)
        similarity = queries[here] @ targets.T  # (b, m)
        plain[here] = similarity.argmax(axis=1)
        best = (2 * similarity - around).argmax(axis=1)
        scaled[here] = best
        cosines[here] = similarity[np.arange(len(best)), best]
    return plain, scaled, cosines


def mean_similarity(
    rows: Matrix, others: Matrix, neighbours: int = NEIGHBOURS, block_bytes: int = BLOCK_BYTES
) -> Matrix:
    """Of each row the mean cosine to its nearest others, ``r`` of CSLS.

    Args:
        rows: (n, d) of length one, or zeros.
        others: (m, d) the same.
        neighbours: How many, at least 1; all where there are fewer.
        block_bytes: Similarities held at once.

    Returns:
        (n,) float32, -1 to 1; zeros where there are no others.
    """
    if neighbours < 1:
        raise ValueError(f"CSLS takes at least one neighbour, not {neighbours}")
    means = np.zeros(len(rows), np.float32)
    if not len(others):
        return means
    count = min(neighbours, len(others))
    step = max(1, block_bytes // (4 * len(others)))
    for start in range(0, len(rows), step):
        similarity = rows[start : start + step] @ others.T
        similarity.partition(len(others) - count, axis=1)
        means[start : start + step] = similarity[:, len(others) - count :].mean(axis=1)
    return means


def mutual_pairs(
    x: Matrix, y: Matrix, neighbours: int = NEIGHBOURS
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows of two languages that are each other's nearest by CSLS.

    Args:
        x: (n, d) rows of length one, in the space of ``y``.
        y: (m, d).
        neighbours: Of CSLS.

    Returns:
        (k, 2) places in ``x`` and ``y``, rising; (k,) their cosines.
    """
    if not len(x) or not len(y):
        return np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    _, forth, cosines = nearest(x, y, sources=x, neighbours=neighbours)
    _, back, _ = nearest(y, x, sources=y, neighbours=neighbours)
    mine = np.flatnonzero(back[forth] == np.arange(len(x)))
    return np.stack([mine, forth[mine]], axis=1), cosines[mine]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Refined:
    """What refinement came to."""

    rotation: Matrix
    """(d, d) orthogonal."""
    cosines: tuple[float, ...]
    """Mean cosine of the induced pairs, at the start and after each round that was kept."""
    induced: int
    """Pairs of the last dictionary that a rotation was made of; 0 where no round was kept."""


def refine(
    x: Matrix,
    y: Matrix,
    rotation: Matrix,
    *,
    rounds: int = 10,
    words: int = REFINED_WORDS,
    neighbours: int = NEIGHBOURS,
) -> Refined:
    """Induce a dictionary by mutual CSLS neighbours, fit a rotation to it, and repeat.

    Ends after ``rounds``, or when the mean cosine of the induced pairs no longer grows (the round that did not help is
    dropped), or when fewer than ``MIN_INDUCED`` pairs are found.

    Args:
        x: (n, d) rows of length one, most frequent words first.
        y: (m, d) the same.
        rotation: (d, d) to start from.
        rounds: At most.
        words: Of each language, the first so many take part.
        neighbours: Of CSLS.
    """
    x, y = x[:words], y[:words]
    pairs, found = mutual_pairs(x @ rotation, y, neighbours)
    cosines = [float(found.mean()) if len(found) else 0.0]
    used = 0
    for _ in range(rounds):
        if len(pairs) < MIN_INDUCED:
            break
        candidate = procrustes(x[pairs[:, 0]], y[pairs[:, 1]])
        following, found = mutual_pairs(x @ candidate, y, neighbours)
        mean = float(found.mean()) if len(found) else 0.0
        if mean <= cosines[-1]:
            break
        rotation, used = candidate, len(pairs)
        cosines.append(mean)
        pairs = following
    return Refined(rotation=rotation, cosines=tuple(cosines), induced=used)


def _unit(matrix: Matrix) -> Matrix:
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.asarray(np.divide(matrix, lengths, out=np.zeros_like(matrix), where=lengths > 0), np.float32)
