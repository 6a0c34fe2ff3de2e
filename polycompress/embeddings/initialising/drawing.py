"""Rows drawn at random that look like the rows of a table: the same mean, and the same variance or covariance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.initialising.rows import Rows

Sampling = Literal["diagonal", "covariance", "zero"]
"""How rows are drawn: every value by itself, values together, or not at all (zeros, for a head's bias)."""

BLOCK: Final = 1024
"""Rows at a time. Fixed, so that the draws do not depend on the memory there is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moments:
    """What drawn rows take after."""

    mean: NDArray[np.float64]
    """(m,)"""
    spread: NDArray[np.float64]
    """(m,) standard deviations, or (m, m) a square root of the covariance."""


def moments(table: Rows, rows: NDArray[np.bool_], sampling: Sampling) -> Moments:
    """Mean and spread of some rows of a table.

    Args:
        table: (V, m); read in blocks, so it may lie in a file.
        rows: (V,) the rows that count, at least one; the table may have more behind them, which do not.
        sampling: "diagonal" for standard deviations (of the population), "covariance" for all of it; "zero" for none.

    Raises:
        ValueError: No row counts, or a row that does holds NaN or infinity.
    """
    width, wanted = table.shape[1], np.flatnonzero(rows)
    if sampling == "zero":
        return Moments(mean=np.zeros(width), spread=np.zeros(width))
    if not len(wanted):
        raise ValueError("no source row to take after")
    mean = np.zeros(width)
    for block in _blocks(table, wanted):
        mean += block.sum(axis=0)
    mean /= len(wanted)
    if not np.isfinite(mean).all():
        raise ValueError("the source table holds values that are not finite")
    if sampling == "diagonal":
        squares = np.zeros(width)
        for block in _blocks(table, wanted):
            squares += np.square(block - mean).sum(axis=0)
        return Moments(mean=mean, spread=np.sqrt(squares / len(wanted)))
    covariance = np.zeros((width, width))
    for block in _blocks(table, wanted):
        centred = block - mean
        covariance += centred.T @ centred
    # By eigenvalues and not by Cholesky's method, which needs full rank.
    values, vectors = np.linalg.eigh(covariance / len(wanted))
    return Moments(mean=mean, spread=vectors * np.sqrt(np.maximum(values, 0.0)))


def draws(found: Moments, count: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Draw rows from the normal distribution with these moments.

    Args:
        found: Mean and spread.
        count: Rows.
        seed: Of the generator.

    Yields:
        (b, m) blocks, ``count`` rows together.
    """
    generator = np.random.default_rng(seed)
    width = len(found.mean)
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        if not found.spread.any():
            yield np.broadcast_to(found.mean, (size, width))
            continue
        normal = generator.standard_normal((size, width))
        yield found.mean + (normal * found.spread if found.spread.ndim == 1 else normal @ found.spread.T)


def _blocks(table: Rows, rows: NDArray[np.int64]) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(rows), BLOCK):
        yield table[rows[start : start + BLOCK]].astype(np.float64)
