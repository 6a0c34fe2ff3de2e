"""Loyalty: how far a student behaves as its teacher does, whatever the right answer is.

Needs what both say about the same texts, no labels, and no common vocabulary.

Reference:
    Xu et al., "Beyond Preserved Accuracy: Evaluating Loyalty and Robustness of BERT Compression", 2021, section 3,
    https://arxiv.org/abs/2109.03228 (label and probability loyalty); Kornblith et al., "Similarity of Neural Network
    Representations Revisited", 2019, section 3, https://arxiv.org/abs/1905.00414 (CKA); Song et al., "Feature Selection
    via Dependence Maximization", 2012, equation 5, https://jmlr.org/papers/v13/song12a.html (the unbiased estimate).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
_NOTHING: Final = 1e-10
"""Relative to the numbers that cancelled: what is smaller is rounding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RegressionLoyalty:
    """How far a student's numbers are its teacher's."""

    agreement: float
    """1 less the mean absolute difference as a share of the scale; 1 is equal."""
    pearson: float | None
    """Correlation; None where either side does not vary."""


def label_loyalty(student_logits: ArrayLike, teacher_logits: ArrayLike) -> float:
    """Share of examples in which both give the same class the largest logit (of tied ones the first).

    Args:
        student_logits: (n, c)
        teacher_logits: (n, c)

    Returns:
        Between 0 and 1.

    Raises:
        ValueError: Shapes differ, nothing is there, or a value is not finite.
    """
    student, teacher = _pair(student_logits, teacher_logits, dimensions=2)
    return float(np.mean(student.argmax(axis=1) == teacher.argmax(axis=1)))


def probability_loyalty(student_logits: ArrayLike, teacher_logits: ArrayLike) -> float:
    """1 less the Jensen-Shannon distance of the two distributions over classes, averaged over examples.

    The distance is the square root of the divergence, in base 2, so that it lies between 0 and 1. (scipy's
    ``jensenshannon`` is this distance: no further root is taken of it.)

    Args:
        student_logits: (n, c), before the softmax.
        teacher_logits: (n, c), before the softmax.

    Returns:
        Between 0 and 1.

    Raises:
        ValueError: Shapes differ, nothing is there, or a value is not finite.
    """
    student, teacher = _pair(student_logits, teacher_logits, dimensions=2)
    return float(np.mean(1 - jensen_shannon_distance(_softmax(student), _softmax(teacher))))


def jensen_shannon_distance(p: Floats, q: Floats) -> Floats:
    """Square root of the Jensen-Shannon divergence in base 2.

    Args:
        p: (..., c) non-negative, each row adding up to 1.
        q: The same.

    Returns:
        (...) between 0 and 1; symmetric, and 0 only where both are equal.
    """
    middle = (p + q) / 2
    divergence = (_kl(p, middle) + _kl(q, middle)) / 2
    return np.sqrt(np.clip(divergence, 0.0, 1.0))


def regression_loyalty(
    student: ArrayLike, teacher: ArrayLike, *, scale: tuple[float, float] | None = None
) -> RegressionLoyalty:
    """Agreement and correlation of two lists of numbers.

    The formula of agreement is ours: ``1 - mean |student - teacher| / range``.

    Args:
        student: (n,)
        teacher: (n,)
        scale: The least and the greatest value that there can be, such as (0, 5) for similarity of sentences; within
            it, agreement lies between 0 and 1. None: the least and the greatest of the teacher's.

    Raises:
        ValueError: Lengths differ, nothing is there, a value is not finite, or the scale has no extent.
    """
    ours, theirs = _pair(student, teacher, dimensions=1)
    least, greatest = (float(theirs.min()), float(theirs.max())) if scale is None else scale
    if not greatest > least:
        raise ValueError(
            f"A scale from {least} to {greatest} has no extent. Give the task's scale, such as (0, 5)."
        )
    return RegressionLoyalty(
        agreement=float(1 - np.mean(np.abs(ours - theirs)) / (greatest - least)),
        pearson=_pearson(ours, theirs),
    )


def linear_cka(student: ArrayLike, teacher: ArrayLike, *, debiased: bool = True) -> float:
    """Linear centred kernel alignment: how alike two sets of hidden states are, up to rotation and scale.

    Works on the features and not on the n x n similarities, exactly and without batches. The plain estimate
    ``|Y'X|^2 / (|X'X| |Y'Y|)`` is near 1 for any two representations that are wider than there are examples; the
    default takes that bias out.

    Args:
        student: (n, d) one row for each example, such as mean-pooled hidden states.
        teacher: (n, e) of the same examples.
        debiased: Use the unbiased estimates of the three terms; needs at least 4 examples.

    Returns:
        1 for equal representations; about 0 for unrelated ones, where the debiased one may fall below. 0 also where
        either side does not vary.

    Raises:
        ValueError: Different numbers of examples, too few, or a value is not finite.
    """
    x, y = _features(student, "student"), _features(teacher, "teacher")
    least = 4 if debiased else 2
    if len(x) != len(y) or len(x) < least:
        raise ValueError(f"CKA needs the same examples twice, at least {least}, not {len(x)} and {len(y)}.")
    scale = _similarity(x, x, debiased=debiased) * _similarity(y, y, debiased=debiased)
    if scale <= 0.0:
        return 0.0
    return float(np.clip(_similarity(x, y, debiased=debiased) / np.sqrt(scale), -1.0, 1.0))


def _features(values: ArrayLike, name: str) -> Floats:
    """(n, d) centred, with the largest number 1; all 0 where rows differ by rounding only."""
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
        raise ValueError(
            f"The {name}'s hidden states are (n, d) finite numbers; these have shape {rows.shape}."
        )
    largest = np.abs(rows).max()
    rows = rows / (largest or 1.0)
    centred: Floats = rows - rows.mean(axis=0)
    spread = np.abs(centred).max()
    return centred / spread if spread > _NOTHING else np.zeros_like(centred)


def _similarity(x: Floats, y: Floats, *, debiased: bool) -> float:
    """The Hilbert-Schmidt independence criterion of centred features, up to a factor that CKA does not see.

    Debiased, of kernels without their diagonals; as the features are centred, the sums over kernels that Song et al.
    need are sums over squared lengths of rows.
    """
    plain = float(np.sum((x.T @ y) ** 2))
    if not debiased:
        return plain
    examples = len(x)
    a, b = np.sum(x * x, axis=1), np.sum(y * y, axis=1)  # (n,)
    diagonal = float(a @ b) * examples / (examples - 2)
    mean = float(a.sum() * b.sum()) / ((examples - 1) * (examples - 2))
    value = plain - diagonal + mean
    return value if abs(value) > _NOTHING * (plain + diagonal + mean) else 0.0


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _kl(p: Floats, middle: Floats) -> Floats:
    """(...) sum of p log2(p / middle), where 0 log 0 is 0."""
    ratio = np.divide(p, middle, out=np.ones_like(p), where=(p > 0) & (middle > 0))
    total: Floats = np.sum(p * np.log2(ratio), axis=-1)
    return total


def _pearson(a: Floats, b: Floats) -> float | None:
    x, y = _features(a[:, None], "student")[:, 0], _features(b[:, None], "teacher")[:, 0]
    lengths = np.sqrt((x @ x) * (y @ y))
    return float(np.clip((x @ y) / lengths, -1.0, 1.0)) if lengths > 0 else None


def _pair(student: ArrayLike, teacher: ArrayLike, *, dimensions: int) -> tuple[Floats, Floats]:
    ours, theirs = np.asarray(student, dtype=np.float64), np.asarray(teacher, dtype=np.float64)
    if ours.shape != theirs.shape or ours.ndim != dimensions or not ours.size:
        shape = "(n, c)" if dimensions == 2 else "(n,)"
        raise ValueError(
            f"Student and teacher need the same shape {shape} with something in it; these are {ours.shape} and "
            f"{theirs.shape}."
        )
    for name, values in (("student", ours), ("teacher", theirs)):
        if not np.isfinite(values).all():
            raise ValueError(
                f"Row {int(np.argwhere(~np.isfinite(values))[0][0])} of the {name} is not finite."
            )
    return ours, theirs
