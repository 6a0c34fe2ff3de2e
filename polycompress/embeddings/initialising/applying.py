"""Make the rows that a plan describes, out of any table with a row for each source token."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.initialising.drawing import BLOCK, Sampling, draws, moments
from polycompress.embeddings.initialising.plans import RowsPlan, Rule
from polycompress.embeddings.initialising.rows import Rows


def apply_plan(
    plan: RowsPlan,
    source_rows: NDArray[np.floating],
    *,
    seed: int,
    sampling: Sampling = "diagonal",
    block: int = BLOCK,
) -> NDArray[np.floating]:
    """Make the rows of a new table.

    The same plan serves the coordinates of a factorised table, a dense one, an untied head, and a head's bias.

    Args:
        plan: What each row is made of.
        source_rows: (V_s, m) or (V_s,), float16, float32 or float64, at least as many rows as the plan knows; more (a
            table padded past its tokenizer) are not looked at. Read in blocks, so it may lie in a file.
        seed: Of the draws.
        sampling: How rows without sources are drawn: "diagonal", "covariance" (for tables whose columns are
            correlated), or "zero" (for a bias).
        block: Rows at a time; it does not change the result.

    Returns:
        (V_t, m) or (V_t,) in the source's type. Copied rows have the source's bits; averages are summed in float64.

    Raises:
        ValueError: The source has fewer rows than the plan knows; or it is not finite where rows are drawn after it.

    Reference:
        Liu et al., "OFA: A Framework of Initializing Unseen Subword Embeddings for Efficient Large-scale Multilingual
        Continued Pretraining" (Findings of NAACL 2024), section 3. Biases are our addition: the authors' head starts
        from fresh ones.
    """
    table = source_rows[:, None] if source_rows.ndim == 1 else source_rows
    made = np.empty((len(plan), table.shape[1]), dtype=table.dtype)
    done = 0
    for rows in planned_rows(plan, table, seed=seed, sampling=sampling, block=block):
        made[done : done + len(rows)] = rows
        done += len(rows)
    return made[:, 0] if source_rows.ndim == 1 else made


def planned_rows(
    plan: RowsPlan, table: Rows, *, seed: int, sampling: Sampling = "diagonal", block: int = BLOCK
) -> Iterator[NDArray[np.floating]]:
    """Make the rows of a new table block by block, for tables that need not fit into memory.

    Args:
        plan: What each row is made of.
        table: (V_s, m), see `apply_plan`.
        seed: Of the draws.
        sampling: How rows without sources are drawn.
        block: Rows at a time; it does not change the result.

    Yields:
        (b, m) rows of the new table, from the first to the last.

    Raises:
        ValueError: See `apply_plan`.
    """
    if len(table) < len(plan.population):
        raise ValueError(f"a source of {len(table)} rows for a plan that knows {len(plan.population)}")
    drawn = plan.rule == Rule.SAMPLED
    alone = (plan.weights[:, :1] == 1).all(axis=1) & (plan.sources[:, 1:] < 0).all(axis=1) & ~drawn
    supply = _Draws(plan, table, seed, sampling, int(drawn.sum()))
    for start in range(0, len(plan), block):
        part = slice(start, start + block)
        made = np.empty((len(plan.rule[part]), table.shape[1]), dtype=table.dtype)
        if len(rows := np.flatnonzero(alone[part])):
            made[rows] = table[plan.sources[part][rows, 0]]
        if len(rows := np.flatnonzero(~(alone | drawn)[part])):
            made[rows] = _averages(table, plan.sources[part][rows], plan.weights[part][rows])
        if len(rows := np.flatnonzero(drawn[part])):
            made[rows] = supply.take(len(rows))
        yield made


class _Draws:
    """Drawn rows, handed out in the order in which they are drawn."""

    def __init__(self, plan: RowsPlan, table: Rows, seed: int, sampling: Sampling, count: int) -> None:
        self._left = np.empty((0, table.shape[1]))
        self._more: Iterator[NDArray[np.float64]] = iter(())
        if count:
            self._more = draws(moments(table, plan.population, sampling), count, seed)

    def take(self, count: int) -> NDArray[np.float64]:
        """The next (count, m)."""
        parts = [self._left]
        while sum(map(len, parts)) < count:
            parts.append(next(self._more))
        rows = np.concatenate(parts)
        self._left = rows[count:]
        return rows[:count]


def _averages(table: Rows, sources: NDArray[np.int32], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """One source of each row at a time: always the same order of summation, and no (b, k, m) array."""
    total = np.zeros((len(sources), table.shape[1]))
    scale = weights.sum(axis=1, dtype=np.float64)
    for column in range(sources.shape[1]):
        rows = np.flatnonzero(sources[:, column] >= 0)
        if not len(rows):
            break  # sources stand from the left
        share = (weights[rows, column] / scale[rows])[:, None]
        total[rows] += share * table[sources[rows, column]].astype(np.float64)
    return total
