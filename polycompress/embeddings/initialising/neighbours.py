"""The nearest source vectors of each target vector by cosine: exact, in little memory, at the price of the products.

A float32 matrix product gives the cosines of a block of targets with a tile of sources; whatever lies above a target's
own threshold is a candidate. The threshold is the target's k-th best cosine so far, less twice what rounding can do to
a float32 product, so no true neighbour is missed. After the first tile few entries pass (about k ln(V / tile) a target
in all), so beside the products the work is one comparison an entry. Candidates are measured again in float64, in an
order that does not depend on blocks, and ranked by that: which blocks were taken, and how many threads multiplied them,
cannot be seen in the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

TARGET_BLOCK: Final = 1024
"""Targets whose cosines are computed at a time."""
SOURCE_BLOCK: Final = 4096
"""Sources at a time; 1024 x 4096 cosines are 16 MiB."""
_PAIRS: Final = 8192
"""Candidates that are measured again at a time."""

Vectors = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Neighbours:
    """The nearest sources of each target, nearest first."""

    ids: NDArray[np.int32]
    """(n_t, k) rows of the sources; -1 where a target has fewer with a positive cosine."""
    cosines: NDArray[np.float64]
    """(n_t, k) their cosines; 0 where there is none."""


def unit_rows(vectors: NDArray[np.floating], rows: NDArray[np.integer] | None = None) -> Vectors:
    """Vectors scaled to length 1.

    Args:
        vectors: (V, d).
        rows: (n,) the ones wanted; all by default.

    Returns:
        (n, d) float32; zeros stay zeros.
    """
    wanted = np.arange(len(vectors)) if rows is None else rows
    unit = np.empty((len(wanted), vectors.shape[1]), dtype=np.float32)
    for start in range(0, len(wanted), _PAIRS):
        block = vectors[wanted[start : start + _PAIRS]].astype(np.float64)
        # Scaled by the largest value first: squares of very small or large values leave float64's range.
        largest = np.abs(block).max(axis=1, keepdims=True, initial=0.0)
        block /= np.where(largest > 0, largest, 1.0)
        lengths = np.sqrt(np.square(block).sum(axis=1, keepdims=True))
        unit[start : start + _PAIRS] = block / np.where(lengths > 0, lengths, 1.0)
    return unit


def nearest(
    targets: Vectors,
    sources: Vectors,
    k: int,
    *,
    target_block: int = TARGET_BLOCK,
    source_block: int = SOURCE_BLOCK,
    progress: Callable[[int], None] | None = None,
) -> Neighbours:
    """Find the k sources of largest cosine for each target, among those with a positive cosine.

    Args:
        targets: (n_t, d) unit vectors (see `unit_rows`).
        sources: (n_s, d) unit vectors.
        k: Neighbours wanted, 1 or more.
        target_block: Targets at a time. Blocks change time and memory, never the result.
        source_block: Sources at a time.
        progress: Told how many more targets are done.

    Returns:
        Neighbours by falling cosine, equal cosines by rising row. A cosine counts as positive if it is larger than
        what rounding can make of 0 in float32 (d 2^-23).

    Raises:
        ValueError: The widths differ, or k is below 1.
    """
    if targets.shape[1] != sources.shape[1]:
        raise ValueError(f"targets have {targets.shape[1]} values, sources {sources.shape[1]}")
    if k < 1:
        raise ValueError(f"k is {k}; at least 1 neighbour")
    ids = np.full((len(targets), k), -1, dtype=np.int32)
    cosines = np.zeros((len(targets), k))
    scores = np.empty(target_block * min(source_block, max(1, len(sources))), dtype=np.float32)
    above = np.empty(len(scores), dtype=np.bool_)
    for start in range(0, len(targets), target_block):
        block = targets[start : start + target_block]
        best = _Best(block, sources, k)
        for first in range(0, len(sources), source_block):
            tile = sources[first : first + source_block]
            size = len(block) * len(tile)
            product = scores[:size].reshape(len(block), len(tile))
            np.matmul(block, tile.T, out=product)
            if first == 0:
                best.start_from(product)
            passed = above[:size].reshape(product.shape)
            np.greater(product, best.thresholds[:, None], out=passed)
            best.offer(np.flatnonzero(above[:size]), len(tile), first)
        best.settle()
        ids[start : start + target_block], cosines[start : start + target_block] = best.ids, best.cosines
        if progress is not None:
            progress(len(block))
    return Neighbours(ids=ids, cosines=cosines)


class _Best:
    """The best k sources of each target of a block, as far as the tiles have been seen."""

    def __init__(self, targets: Vectors, sources: Vectors, k: int) -> None:
        self._targets, self._sources, self._k = targets, sources, k
        self.ids = np.full((len(targets), k), -1, dtype=np.int64)
        self.cosines = np.zeros((len(targets), k))
        # |float32 product - true product| of unit vectors stays below this, whatever the order of summation.
        self._rounding = np.float32((targets.shape[1] + 2) * 2.0**-24)
        self.thresholds = np.full(len(targets), self._rounding, dtype=np.float32)
        self._waiting: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._pending = 0

    def start_from(self, product: NDArray[np.float32]) -> None:
        """Take first thresholds from a tile's cosines, so that only few of the tile itself pass."""
        if product.shape[1] > self._k:
            kth = np.partition(product, -self._k, axis=1)[:, -self._k]
            self.thresholds = np.maximum(self.thresholds, kth - 2 * self._rounding)

    def offer(self, flat: NDArray[np.int64], width: int, first: int) -> None:
        """Take candidates of a tile.

        Args:
            flat: Where they lie in the tile's cosines, row by row.
            width: Sources of the tile.
            first: The tile's first source.
        """
        # In parts, so that not even a tile that passes whole needs more memory than a few blocks.
        most = max(_PAIRS, len(self._targets) * self._k)
        for start in range(0, len(flat), most):
            rows, columns = np.divmod(flat[start : start + most], width)
            self._waiting.append((rows, columns + first))
            self._pending += len(rows)
            if self._pending >= most:
                self.settle()

    def settle(self) -> None:
        """Measure the candidates that wait, keep the best k of each target, and raise the thresholds."""
        if not self._pending:
            return
        rows = np.concatenate([rows for rows, _ in self._waiting])
        ids = np.concatenate([ids for _, ids in self._waiting])
        self._waiting, self._pending = [], 0
        cosines = exact_products(self._targets, rows, self._sources, ids)
        old = self.ids.ravel() >= 0
        rows = np.concatenate([np.repeat(np.arange(len(self.ids)), self._k)[old], rows])
        ids = np.concatenate([self.ids.ravel()[old], ids])
        cosines = np.concatenate([self.cosines.ravel()[old], cosines])
        positive = cosines > 2 * float(self._rounding)
        rows, ids, cosines = rows[positive], ids[positive], cosines[positive]
        order = np.lexsort((ids, -cosines, rows))
        rows, ids, cosines = rows[order], ids[order], cosines[order]
        place = np.arange(len(rows)) - np.searchsorted(rows, rows)
        kept = place < self._k
        self.ids[rows[kept], place[kept]] = ids[kept]
        self.cosines[rows[kept], place[kept]] = cosines[kept]
        full = self.ids[:, -1] >= 0
        lowest = (self.cosines[:, -1] - 2 * float(self._rounding)).astype(np.float32)
        self.thresholds = np.where(full, np.maximum(self.thresholds, lowest), self.thresholds)


def exact_products(
    left: NDArray[np.float32],
    left_rows: NDArray[np.integer],
    right: NDArray[np.float32],
    right_rows: NDArray[np.integer],
) -> NDArray[np.float64]:
    """Products of pairs of rows in float64; each pair's value is the same whatever pairs are beside it.

    Args:
        left: (n, d).
        left_rows: (p,) rows of it.
        right: (m, d).
        right_rows: (p,) rows of it.

    Returns:
        (p,).
    """
    products = np.empty(len(left_rows))
    for start in range(0, len(left_rows), _PAIRS):
        part = slice(start, start + _PAIRS)
        terms = left[left_rows[part]].astype(np.float64)
        terms *= right[right_rows[part]]
        products[part] = np.add.reduce(terms, axis=1)
    return products
