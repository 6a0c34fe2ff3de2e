"""From similarities to weights that sum to 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def softmax(
    similarities: NDArray[np.float64], there: NDArray[np.bool_], temperature: float
) -> NDArray[np.float64]:
    """Weights exp(c / temperature), scaled to sum 1.

    Args:
        similarities: (n, k).
        there: (n, k) which of them count.
        temperature: Above 0. Towards 0 the largest takes all, towards infinity all get the same.

    Returns:
        (n, k) summing to 1 where anything counts, 0 where nothing does.

    Raises:
        ValueError: The temperature is not above 0.
    """
    if not temperature > 0:
        raise ValueError(f"the temperature is {temperature}; it must be above 0")
    logits = np.where(there, similarities, -np.inf)
    highest = logits.max(axis=1, keepdims=True, initial=-np.inf)
    with np.errstate(over="ignore"):  # a temperature near 0: what is behind the largest gets exp(-inf)
        spread = (logits - np.where(np.isfinite(highest), highest, 0.0)) / temperature
    raw = np.where(there, np.exp(spread), 0.0)
    total = raw.sum(axis=1, keepdims=True)
    return raw / np.where(total > 0, total, 1.0)


def sparsemax(similarities: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The point of the simplex that is nearest to the similarities: few weights are above 0.

    Args:
        similarities: (n, k), falling along each row.
        there: (n, k) which of them count; in each row the first ones.

    Returns:
        (n, k) summing to 1 where anything counts, 0 where nothing does.

    Reference:
        Martins and Astudillo, "From Softmax to Sparsemax" (ICML 2016), algorithm 1.
    """
    values = np.where(there, similarities, 0.0)
    sums = np.cumsum(values, axis=1)
    places = np.arange(1, values.shape[1] + 1)
    support = there & (1 + places * values > sums)
    size = support.sum(axis=1)
    rows = np.arange(len(values))
    threshold = (sums[rows, np.maximum(size, 1) - 1] - 1) / np.maximum(size, 1)
    weights = np.where(support, np.maximum(values - threshold[:, None], 0.0), 0.0)
    total = weights.sum(axis=1, keepdims=True)
    return weights / np.where(total > 0, total, 1.0)
