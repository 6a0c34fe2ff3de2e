"""The rows' leading directions: right singular vectors of a weighted table, found in three ways.

All of them answer the same question, min over R of sum_i w_i ||e_i - e_i R R^T||^2 with R [d, r] orthonormal, whose
solution are the first right singular vectors of diag(sqrt w) E.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.blocks import RowTable
from polycompress.errors import InputError

OVERSAMPLING: Final = 16
"""Directions that the randomised way follows beyond those asked for (Halko et al.: 5 to 10 suffice, more is cheap)."""
ITERATIONS: Final = 4
"""Passes of the randomised way over the table before the last."""
_SEED: Final = 0

Floats = NDArray[np.float64]
Tell = Callable[[int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """Orthonormal directions of a table's rows."""

    directions: Floats
    """R, [d, r], orthonormal columns, the strongest first."""
    singular_values: Floats
    """[r], of diag(sqrt w) E along them, falling."""
    energy: float
    """sum_i w_i ||e_i||^2, all squared singular values together."""


def thin_basis(table: RowTable, rank: int, weights: Floats | None, tell: Tell | None = None) -> Basis:
    """By the thin singular value decomposition of the whole table in float64: the most exact, for small tables."""
    rows = np.concatenate([block.astype(np.float64) for block, _ in _weighted(table, weights, tell)])
    _, values, right = np.linalg.svd(_finite(rows), full_matrices=False)
    energy = float(np.square(values).sum())
    missing = rank - len(values)
    if missing > 0:  # fewer rows than directions: any orthonormal ones beside those found
        full, _ = np.linalg.qr(np.concatenate([right.T, np.eye(right.shape[1])], axis=1))
        right = np.concatenate([right, full[:, len(values) : rank].T])
        values = np.concatenate([values, np.zeros(missing)])
    return Basis(np.ascontiguousarray(right[:rank].T), values[:rank], energy)


def gram_basis(table: RowTable, rank: int, weights: Floats | None, tell: Tell | None = None) -> Basis:
    """By the eigenvectors of E^T diag(w) E [d, d], summed in float64 block by block: one pass, little memory.

    Squaring costs half the digits of the smallest singular values: below 1e-8 of the largest they are noise, which is
    beneath what float32 holds of the table.
    """
    width = table.shape[1]
    gram = np.zeros((width, width))
    for block, _ in _weighted(table, weights, tell):
        wide = block.astype(np.float64)
        gram += wide.T @ wide
    squares, vectors = np.linalg.eigh(_finite(gram))
    order = np.argsort(squares)[::-1]
    values = np.sqrt(np.maximum(squares[order], 0.0))
    return Basis(np.ascontiguousarray(vectors[:, order[:rank]]), values[:rank], float(np.trace(gram)))


def randomised_basis(table: RowTable, rank: int, weights: Floats | None, tell: Tell | None = None) -> Basis:
    """By subspace iteration from random directions, for tables too wide for their [d, d] products.

    Memory grows with d r. The directions are close to the best ones where singular values fall; what they miss is in
    ``Factors.dropped``, which is measured and not estimated. Deterministic: the seed is fixed.

    Reference:
        Halko, Martinsson and Tropp 2011, "Finding structure with randomness", algorithm 4.4.
    """
    width = table.shape[1]
    size = min(width, rank + OVERSAMPLING)
    start = np.random.default_rng(_SEED).standard_normal((width, size))
    directions, _ = np.linalg.qr(start)
    energy = 0.0
    for _ in range(ITERATIONS):
        energy, total = 0.0, np.zeros((width, size))
        for block, _ in _weighted(table, weights, tell):
            wide = block.astype(np.float64)
            total += wide.T @ (wide @ directions)
            energy += float(np.square(wide).sum())
        directions, _ = np.linalg.qr(_finite(total))
    small = np.zeros((size, size))
    for block, _ in _weighted(table, weights, tell):
        inside = block.astype(np.float64) @ directions
        small += inside.T @ inside
    squares, turn = np.linalg.eigh(small)
    order = np.argsort(squares)[::-1][:rank]
    values = np.sqrt(np.maximum(squares[order], 0.0))
    return Basis(np.ascontiguousarray(directions @ turn[:, order]), values, energy)


def _weighted(
    table: RowTable, weights: Floats | None, tell: Tell | None
) -> Iterator[tuple[NDArray[Any], slice]]:
    """Rows times the root of their weights."""
    first = 0
    for block in table.blocks():
        part = slice(first, first + len(block))
        first = part.stop
        yield (block if weights is None else block * np.sqrt(weights[part])[:, None]), part
        if tell is not None:
            tell(len(block))


def _finite(values: Floats) -> Floats:
    if not np.isfinite(values).all():
        raise InputError(
            "the table holds values that are not numbers, or overflow when squared. Look for NaN and infinity in its "
            "rows, and take a checkpoint without them"
        )
    return values
