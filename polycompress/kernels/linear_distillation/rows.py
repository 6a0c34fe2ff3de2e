"""The loss of the rows of one tile of logits, and its gradient, in plain torch.

The tile is read in slices of columns that fit a processor's cache: once for the highest logits, once for the sums, once
more for the means under m (Jensen-Shannon only), and once to write the gradient over the student's logits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from polycompress.kernels.linear_distillation.objective import Objective

_SLICE_ELEMENTS = 1 << 17


@dataclass(slots=True, eq=False)
class _Sums:
    """What a row knows after the slices were read; each [t, 1]."""

    student_top: Tensor
    """Highest u."""
    teacher_top: Tensor
    """Highest v."""
    log_student: Tensor
    """log sum exp(u - top)."""
    log_teacher: Tensor
    log_hard: Tensor
    """The same for s at temperature 1."""
    divergence: Tensor
    centre: Tensor
    """What is subtracted in the gradient: D for reverse, KL(q || m) for Jensen-Shannon."""


def distillation_rows(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None,
    gradient: Tensor | None,
    objective: Objective,
    dtype: torch.dtype,
) -> Tensor:
    """Loss of each row.

    Args:
        student: [t, V], logits.
        teacher: [t, V], logits.
        labels: [t] int64; needed if the hard weight is above 0.
        gradient: [t, V], written: the gradient by the student's logits; it may be ``student`` itself. None: not wanted.
        objective: What is minimised.
        dtype: Of the sums.

    Returns:
        [t] of ``dtype``.
    """
    sums = _read(student, teacher, objective, dtype)
    losses = objective.soft_weight * sums.divergence.squeeze(1)
    if objective.hard_weight:
        assert labels is not None
        chosen = student.gather(1, labels.unsqueeze(1)).to(dtype)
        top = sums.student_top * objective.temperature
        losses += objective.hard_weight * (sums.log_hard + top - chosen).squeeze(1)
    if gradient is not None:
        _write(student, teacher, labels, gradient, objective, sums)
    return losses


def _slices(tile: Tensor) -> Iterator[slice]:
    width = max(1, _SLICE_ELEMENTS // max(1, len(tile)))
    for first in range(0, tile.shape[1], width):
        yield slice(first, first + width)


def _shifted(tile: Tensor, columns: slice, scale: float, top: Tensor) -> Tensor:
    """Scaled logits less the highest of their row, in the dtype of the sums; a new tensor."""
    return tile[:, columns].to(top.dtype).mul(scale).sub_(top)


def _read(student: Tensor, teacher: Tensor, objective: Objective, dtype: torch.dtype) -> _Sums:
    scale = 1.0 / objective.temperature
    student_top = student.amax(1, keepdim=True).to(dtype) * scale
    teacher_top = teacher.amax(1, keepdim=True).to(dtype) * scale
    student_sum, teacher_sum, hard_sum, cross = (torch.zeros_like(student_top) for _ in range(4))
    softened = objective.hard_weight > 0.0 and objective.temperature != 1.0
    for columns in _slices(student):
        u = _shifted(student, columns, scale, student_top)
        v = _shifted(teacher, columns, scale, teacher_top)
        q, p = u.exp(), v.exp()
        student_sum += q.sum(1, keepdim=True)
        teacher_sum += p.sum(1, keepdim=True)
        if softened:
            hard_sum += (u * objective.temperature).exp_().sum(1, keepdim=True)
        if objective.divergence == "forward":
            cross += torch.where(p > 0.0, v.sub_(u).mul_(p), 0.0).sum(1, keepdim=True)
        elif objective.divergence == "reverse":
            cross += torch.where(q > 0.0, u.sub_(v).mul_(q), 0.0).sum(1, keepdim=True)
    log_student, log_teacher = student_sum.log(), teacher_sum.log()
    sums = _Sums(
        student_top=student_top,
        teacher_top=teacher_top,
        log_student=log_student,
        log_teacher=log_teacher,
        log_hard=hard_sum.log() if softened else log_student,
        divergence=cross,
        centre=cross,
    )
    if objective.divergence == "forward":
        sums.divergence = cross / teacher_sum - log_teacher + log_student
    elif objective.divergence == "reverse":
        sums.divergence = sums.centre = cross / student_sum - log_student + log_teacher
    else:
        sums.divergence, sums.centre = _mixture(student, teacher, objective, sums)
    return sums


def _mixture(student: Tensor, teacher: Tensor, objective: Objective, sums: _Sums) -> tuple[Tensor, Tensor]:
    """The Jensen-Shannon divergence, and KL(q || m)."""
    by_teacher, by_student = torch.zeros_like(sums.log_student), torch.zeros_like(sums.log_student)
    for columns in _slices(student):
        log_q, log_p = _logs(student, teacher, columns, objective, sums)
        q, p = log_q.exp(), log_p.exp()
        log_m = _log_mixture(p, q, objective.beta)
        by_teacher += torch.where(p > 0.0, log_p.sub_(log_m).mul_(p), 0.0).sum(1, keepdim=True)
        by_student += torch.where(q > 0.0, log_q.sub_(log_m).mul_(q), 0.0).sum(1, keepdim=True)
    return objective.beta * by_teacher + (1.0 - objective.beta) * by_student, by_student


def _log_mixture(p: Tensor, q: Tensor, beta: float) -> Tensor:
    # The floor keeps a mixture of the smallest numbers from vanishing where p or q has not.
    return torch.lerp(q, p, beta).clamp_(min=torch.finfo(p.dtype).tiny).log_()


def _logs(
    student: Tensor, teacher: Tensor, columns: slice, objective: Objective, sums: _Sums
) -> tuple[Tensor, Tensor]:
    """The log probabilities of a slice: log q, log p."""
    scale = 1.0 / objective.temperature
    log_q = _shifted(student, columns, scale, sums.student_top).sub_(sums.log_student)
    log_p = _shifted(teacher, columns, scale, sums.teacher_top).sub_(sums.log_teacher)
    return log_q, log_p


def _write(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None,
    gradient: Tensor,
    objective: Objective,
    sums: _Sums,
) -> None:
    hard = objective.hard_weight
    for columns in _slices(student):
        log_q, log_p = _logs(student, teacher, columns, objective, sums)
        q = log_q.exp()
        if objective.divergence == "forward":
            slope = q - log_p.exp_()
        elif objective.divergence == "reverse":
            slope = torch.where(q > 0.0, (log_q - log_p).sub_(sums.centre).mul_(q), 0.0)
        else:
            log_m = _log_mixture(log_p.exp_(), q, objective.beta)
            slope = torch.where(q > 0.0, (log_q - log_m).sub_(sums.centre).mul_(q), 0.0)
            slope.mul_(1.0 - objective.beta)
        slope.mul_(objective.soft_slope)
        if hard:
            assert labels is not None
            slope.add_(_hard_probabilities(log_q, q, objective, sums), alpha=hard)
            inside = (
                ((labels >= columns.start) & (labels < columns.start + slope.shape[1])).nonzero().squeeze(1)
            )
            slope[inside, labels[inside] - columns.start] -= hard
        gradient[:, columns] = slope


def _hard_probabilities(log_q: Tensor, q: Tensor, objective: Objective, sums: _Sums) -> Tensor:
    """softmax(s), from log q = (s - highest s) / T - log sum."""
    if objective.temperature == 1.0:
        return q
    return log_q.add_(sums.log_student).mul_(objective.temperature).sub_(sums.log_hard).exp_()
