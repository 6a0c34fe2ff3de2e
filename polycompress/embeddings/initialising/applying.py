"""Make the rows that a plan describes, out of any array with a row for each source token."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.initialising.drawing import BLOCK, Sampling, draws, moments
from polycompress.embeddings.initialising.plans import RowsPlan, Rule


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
    if len(source_rows) < len(plan.population):
        raise ValueError(f"a source of {len(source_rows)} rows for a plan that knows {len(plan.population)}")
    table = source_rows[:, None] if source_rows.ndim == 1 else source_rows
    made = np.empty((len(plan), table.shape[1]), dtype=table.dtype)
    alone = (plan.weights[:, :1] == 1).all(axis=1) & (plan.sources[:, 1:] < 0).all(axis=1)
    single = np.flatnonzero(alone & (plan.rule != Rule.SAMPLED))
    for start in range(0, len(single), block):
        rows = single[start : start + block]
        made[rows] = table[plan.sources[rows, 0]]
    mixed = np.flatnonzero(~alone & (plan.rule != Rule.SAMPLED))
    for start in range(0, len(mixed), block):
        rows = mixed[start : start + block]
        made[rows] = _averages(table, plan.sources[rows], plan.weights[rows])
    drawn, done = np.flatnonzero(plan.rule == Rule.SAMPLED), 0
    if len(drawn):
        for values in draws(
            moments(table[: len(plan.population)], plan.population, sampling), len(drawn), seed
        ):
            made[drawn[done : done + len(values)]] = values
            done += len(values)
    return made[:, 0] if source_rows.ndim == 1 else made


def _averages(
    table: NDArray[np.floating], sources: NDArray[np.int32], weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    """One source of each row at a time: always the same order of summation, and no (b, k, m) array."""
    total = np.zeros((len(sources), table.shape[1]))
    scale = weights.sum(axis=1, dtype=np.float64)
    for column in range(sources.shape[1]):
        rows = np.flatnonzero(sources[:, column] >= 0)
        share = (weights[rows, column] / scale[rows])[:, None]
        total[rows] += share * table[sources[rows, column]].astype(np.float64)
    return total
