"""Vectors of words of several languages made together, of sentences and their translations.

A word is what sentence pairs it occurs in. The matrix ``A`` has a row for each word of each language and a column for
each pair, ``A[w, s] = 1 / sqrt(pairs with w)`` where w occurs in s, so that rows have length one; with its truncated
singular value decomposition ``A = U S V.T`` a word's vector is its row of ``U sqrt(S)``, scaled to length one. Words
that translate each other occur in the same pairs and come out near each other. Words that no pair holds get the mean
of their nearest neighbours that one does, by vectors trained on each language's own text.

With little text this finds far more translations than a rotation of separately trained vectors, whose shapes are then
too unlike.

References:
    Levy, Søgaard and Goldberg, "A Strong Baseline for Learning Cross-Lingual Word Embeddings from Sentence Alignments",
    EACL 2017, https://arxiv.org/abs/1608.05426 (sentence ids as features); Halko, Martinsson and Tropp, "Finding
    structure with randomness", SIAM Review 53, 2011, section 4.5 (subspace iteration).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.alignment import BLOCK_BYTES, Matrix, normalised

ROUNDS: Final = 6
"""Of the subspace iteration."""
_OVERSAMPLING: Final = 10
NEIGHBOURS: Final = 10
TEMPERATURE: Final = 0.1
"""Neighbours that a word without pairs is made of, and how sharply the near ones count: OFA's own for subwords."""


class Occurrences:
    """A matrix of rows of length one and equal entries: which columns each row has."""

    def __init__(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> None:
        """Keep the entries in both orders.

        Args:
            rows: (e,) 0 to n - 1, each at least once.
            columns: (e,) 0 to m - 1, each at least once; no entry twice.
        """
        entries = np.unique(np.stack([rows, columns], axis=1), axis=0)
        self.shape = (int(rows.max()) + 1, int(columns.max()) + 1)
        counts = np.bincount(entries[:, 0], minlength=self.shape[0])
        if not counts.all() or not np.bincount(entries[:, 1], minlength=self.shape[1]).all():
            raise ValueError("a row or a column has no entry")
        scale = (1 / np.sqrt(counts)).astype(np.float32)
        self._by_row = _Sorted(entries[:, 0], entries[:, 1], scale[entries[:, 0]])
        order = np.argsort(entries[:, 1], kind="stable")
        turned = entries[order]
        self._by_column = _Sorted(turned[:, 1], turned[:, 0], scale[turned[:, 0]])

    def times(self, right: Matrix) -> Matrix:
        """(n, k) product with (m, k)."""
        return self._by_row.times(right)

    def transposed_times(self, right: Matrix) -> Matrix:
        """(m, k) product of the transpose with (n, k)."""
        return self._by_column.times(right)


class _Sorted:
    """Entries in the order of their rows."""

    def __init__(self, rows: NDArray[np.int64], columns: NDArray[np.int64], values: Matrix) -> None:
        self._columns, self._values = columns, values
        self._starts = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]]))

    def times(self, right: Matrix) -> Matrix:
        ends = np.append(self._starts[1:], len(self._columns))
        out = np.empty((len(self._starts), right.shape[1]), np.float32)
        most = max(1, BLOCK_BYTES // (4 * right.shape[1]))  # entries at a time
        first = 0
        while first < len(ends):
            last = max(first + 1, int(np.searchsorted(ends, self._starts[first] + most, side="right")))
            here = slice(int(self._starts[first]), int(ends[last - 1]))
            gathered = right[self._columns[here]] * self._values[here, None]
            out[first:last] = np.add.reduceat(gathered, self._starts[first:last] - here.start, axis=0)
            first = last
        return out


def joint_vectors(
    rows: NDArray[np.int64], columns: NDArray[np.int64], width: int, *, seed: int = 0, rounds: int = ROUNDS
) -> Matrix:
    """Vectors of words by the sentence pairs that they occur in.

    Args:
        rows: (e,) words, 0 to n - 1 over all languages, each at least once.
        columns: (e,) the pair that each occurs in, 0 to m - 1, each at least once; entries may repeat.
        width: Values of a vector; where there are fewer words or pairs, the rest are zeros.
        seed: Of the starting subspace.
        rounds: Of the iteration.

    Returns:
        (n, width) float32, rows of length one (of zeros where the kept part has nothing of a row).

    Raises:
        ValueError: There is no entry, or a word or a pair without one.
    """
    if not len(rows):
        raise ValueError("there are no entries")
    table = Occurrences(rows, columns)
    kept = min(width, *table.shape)
    tried = min(kept + _OVERSAMPLING, *table.shape)
    start = np.random.default_rng(seed).standard_normal((table.shape[1], tried), np.float32)
    basis = _orthonormal(table.times(start))
    for _ in range(rounds):
        basis = _orthonormal(table.times(_orthonormal(table.transposed_times(basis))))
    left, singular, _ = np.linalg.svd(table.transposed_times(basis).T.astype(np.float64), full_matrices=False)
    vectors = np.zeros((table.shape[0], width), np.float32)
    vectors[:, :kept] = (basis.astype(np.float64) @ left[:, :kept]) * np.sqrt(singular[:kept])
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0), np.float32)


def spread(
    known: Matrix,
    targets: Matrix,
    unknown: Matrix,
    *,
    neighbours: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
    block_bytes: int = BLOCK_BYTES,
) -> Matrix:
    """Vectors in one space for words that have them in another only.

    Each is the mean of the vectors of its nearest neighbours, weighted by the softmax of their cosines over the
    temperature, and scaled to length one.

    Args:
        known: (n, d) words that have both, in the space that all have; n at least 1.
        targets: (n, w) the same words in the space that is wanted.
        unknown: (u, d) words without.
        neighbours: How many; all where there are fewer.
        temperature: Above 0.
        block_bytes: Similarities held at once; it does not change the result.

    Returns:
        (u, w) float32.
    """
    count = min(neighbours, len(known))
    mean = _mean_direction(known)
    goals = normalised(known, mean)
    out = np.zeros((len(unknown), targets.shape[1]), np.float32)
    step = max(1, block_bytes // (4 * max(1, len(goals))))
    for start in range(0, len(unknown), step):
        asked = normalised(unknown[start : start + step], mean)
        similarity = asked @ goals.T
        places = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        near = np.take_along_axis(similarity, places, axis=1)
        weights = np.exp((near - near.max(axis=1, keepdims=True)) / temperature)
        weights /= weights.sum(axis=1, keepdims=True)
        mixed = np.einsum("uk,ukw->uw", weights, targets[places])
        lengths = np.linalg.norm(mixed, axis=1, keepdims=True)
        out[start : start + step] = np.divide(mixed, lengths, out=np.zeros_like(mixed), where=lengths > 0)
    return out


def sentence_vectors(sentences: Sequence[NDArray[np.int64]], matrix: Matrix) -> Matrix:
    """Mean vector of each sentence's words, scaled to length one; zeros for a sentence without words.

    Args:
        sentences: Of each its words' places.
        matrix: (n, d) vectors of words.
    """
    out = np.zeros((len(sentences), matrix.shape[1]), np.float32)
    for row, places in enumerate(sentences):
        if len(places):
            mean = matrix[places].mean(axis=0)
            length = float(np.linalg.norm(mean))
            out[row] = mean / length if length > 0 else 0
    return out


def _mean_direction(matrix: Matrix) -> Matrix:
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    scaled = np.divide(matrix, lengths, out=np.zeros_like(matrix), where=lengths > 0)
    return np.asarray(scaled.mean(axis=0, dtype=np.float64), np.float32)


def _orthonormal(matrix: Matrix) -> Matrix:
    return np.asarray(np.linalg.qr(matrix)[0], np.float32)
