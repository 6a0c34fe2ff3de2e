"""How sure a score is: bootstrap intervals over examples, and a paired test between two models.

Reference:
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13 and 16; Koehn, "Statistical Significance
    Tests for Machine Translation Evaluation", 2004, https://aclanthology.org/W04-3250 (paired).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Statistic = Callable[[NDArray[np.float64]], NDArray[np.floating[Any]]]
"""From (r, k) means over examples to (r,) scores."""
_TILE: Final = 1 << 22
"""Places drawn at once: 32 MiB."""
_TAIL: Final = 0.025


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedTest:
    """Two models on the same examples."""

    difference: float
    """Score of the first less that of the second."""
    low: float
    """Of the difference's 95 % interval."""
    high: float
    p: float
    """Two-sided: how often resampled examples would turn the difference around, or make it vanish."""


def first_mean(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """The statistic of scores that are averages, such as accuracy: the mean of the first column.

    Args:
        means: (r, k).
    """
    return means[:, 0]


def bootstrap_interval(
    per_example: NDArray[Any], statistic: Statistic = first_mean, *, resamples: int = 1000, seed: int
) -> tuple[float, float]:
    """The 95 % interval of a score, by the percentiles of resampled examples.

    Args:
        per_example: (n,) what each example scores, or (n, k) counts of which a score is made.
        statistic: Makes scores of the (r, k) means over r resamples; ``f1_of_counts`` for entities.
        resamples: How many; at least 1.
        seed: Of the draws; the same seed gives the same interval.

    Returns:
        Low and high.

    Raises:
        ValueError: There are no examples, or a value is not finite.
    """
    means = resampled_means(_columns(per_example), resamples, seed)
    low, high = np.quantile(statistic(means), [_TAIL, 1 - _TAIL])
    return float(low), float(high)


def paired_bootstrap(
    first: NDArray[Any],
    second: NDArray[Any],
    statistic: Statistic = first_mean,
    *,
    resamples: int = 1000,
    seed: int,
) -> PairedTest:
    """Whether two models differ, on the same examples in the same order.

    Both are scored on the same resampled examples. ``p`` is twice the share of resamples in which the difference is
    zero or has the other sign, at most 1, with one added to count and number so that it is never 0.

    Args:
        first: (n,) or (n, k), as ``bootstrap_interval`` takes it.
        second: The same of the other model.
        statistic: As there.
        resamples: How many; at least 1.
        seed: Of the draws.

    Raises:
        ValueError: There are no examples, the shapes differ, or a value is not finite.
    """
    a, b = _columns(first), _columns(second)
    if a.shape != b.shape:
        raise ValueError(f"A paired test needs the same examples twice, not shapes {a.shape} and {b.shape}.")
    means = resampled_means(np.concatenate([a, b], axis=1), resamples, seed)
    width = a.shape[1]
    differences = statistic(means[:, :width]) - statistic(means[:, width:])
    low, high = np.quantile(differences, [_TAIL, 1 - _TAIL])
    whole = statistic(a.mean(axis=0, keepdims=True)) - statistic(b.mean(axis=0, keepdims=True))
    against = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return PairedTest(
        difference=float(whole[0]),
        low=float(low),
        high=float(high),
        p=min(1.0, 2 * (against + 1) / (resamples + 1)),
    )


def _columns(per_example: NDArray[Any]) -> NDArray[np.float64]:
    """As (n, k)."""
    values = np.asarray(per_example, dtype=np.float64)
    if values.ndim not in (1, 2) or not values.size:
        raise ValueError(f"A bootstrap needs examples as (n,) or (n, k), not {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(f"Example {int(np.argwhere(~np.isfinite(values))[0][0])} has no finite score.")
    return values.reshape(len(values), -1)


def resampled_means(values: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """(resamples, k) means over as many examples as there are, drawn with replacement."""
    if resamples < 1:
        raise ValueError(f"A bootstrap takes at least one resample, not {resamples}.")
    examples, width = values.shape
    generator = np.random.default_rng(seed)
    means = np.empty((resamples, width))
    height = max(1, _TILE // examples)
    for begin in range(0, resamples, height):
        drawn = generator.integers(examples, size=(min(height, resamples - begin), examples))
        for column in range(width):
            means[begin : begin + len(drawn), column] = values[:, column][drawn].mean(axis=1)
    return means
