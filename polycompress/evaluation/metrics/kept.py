"""How much of a teacher's score a student keeps, over several tasks and languages at once.

Scores are taken above chance, and sums of them compared: a ratio for each task would explode where a teacher is near
chance. Both models are resampled on the same examples, in each part apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.evaluation.metrics.intervals import Statistic, resampled_means

_TAIL: Final = 0.025


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedPart:
    """A student and its teacher on the same examples of one task and language."""

    student: NDArray[Any]
    """(n, k) columns that ``statistic`` makes a score of."""
    teacher: NDArray[Any]
    """(n, k) the same of the teacher."""
    statistic: Statistic
    chance: float = 0.0
    """Score of guessing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """The share kept, and its 95 % interval."""

    share: float
    low: float
    high: float


def score_kept(parts: Sequence[PairedPart], *, resamples: int = 1000, seed: int) -> Kept:
    """(sum of the student's scores above chance) / (sum of the teacher's), with a paired bootstrap over examples.

    Args:
        parts: Tasks and languages; each counts the same, however many examples it has.
        resamples: How many; at least 1.
        seed: Of the draws.

    Raises:
        ValueError: There are no parts, the models saw other examples, or the teacher is not above chance.
    """
    if not parts:
        raise ValueError("There is nothing to compare: give at least one task and language.")
    own, other = np.zeros(resamples), np.zeros(resamples)
    student = teacher = 0.0
    for number, part in enumerate(parts):
        if part.student.shape != part.teacher.shape:
            raise ValueError(
                f"Both models have to be judged on the same examples, not {part.student.shape} and "
                f"{part.teacher.shape}."
            )
        both = np.concatenate([part.student, part.teacher], axis=1).astype(np.float64)
        means = resampled_means(both, resamples, seed + number)
        width = part.student.shape[1]
        own += part.statistic(means[:, :width]) - part.chance
        other += part.statistic(means[:, width:]) - part.chance
        whole = both.mean(axis=0, keepdims=True)
        student += float(part.statistic(whole[:, :width])[0]) - part.chance
        teacher += float(part.statistic(whole[:, width:])[0]) - part.chance
    if teacher <= 0:
        raise ValueError(
            f"The teacher is not above chance ({teacher:.4f} in all), so there is nothing to keep."
        )
    low, high = np.quantile(own / np.where(other > 0, other, np.nan), [_TAIL, 1 - _TAIL])
    return Kept(share=student / teacher, low=float(low), high=float(high))
