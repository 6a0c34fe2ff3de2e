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

_SLICE_ELEMENTS = 1 << 18


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

    @property
    def student_lse(self) -> Tensor:
        return self.student_top + self.log_student

    @property
    def teacher_lse(self) -> Tensor:
        return self.teacher_top + self.log_teacher


def distillation_rows(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor | None,
    gradient: Tensor | None,
    objective: Objective,
    dtype: torch.dtype,
    excluded: bool = True,
) -> Tensor:
    """Loss of each row.

    Args:
        student: [t, V], logits.
        teacher: [t, V], logits.
        labels: [t] int64; needed if the hard weight is above 0.
        gradient: [t, V], written: the gradient by the student's logits; it may be ``student`` itself. None: not wanted.
        objective: What is minimised.
        dtype: Of the sums.
        excluded: Whether logits may be minus infinity.

    Returns:
        [t] of ``dtype``.
    """
    width = max(1, min(student.shape[1], _SLICE_ELEMENTS // max(1, len(student))))
    scratch = [torch.empty((len(student), width), dtype=dtype, device=student.device) for _ in range(4)]
    tile = _Tile(student, teacher, scratch, objective, excluded)
    sums = _read(tile)
    losses = objective.soft_weight * sums.divergence.squeeze(1)
    if objective.hard_weight:
        assert labels is not None
        chosen = student.gather(1, labels.unsqueeze(1)).to(dtype)
        top = sums.student_top * objective.temperature
        losses += objective.hard_weight * (sums.log_hard + top - chosen).squeeze(1)
    if gradient is not None:
        _write(tile, labels, gradient, sums)
    return losses


@dataclass(frozen=True, slots=True, eq=False)
class _Tile:
    """Two tiles of logits, read slice by slice into memory that is used again for each."""

    student: Tensor
    teacher: Tensor
    scratch: list[Tensor]
    """Four [t, columns of a slice] of the dtype of the sums; what a method returns lies in here."""
    objective: Objective
    excluded: bool

    def slices(self) -> Iterator[slice]:
        columns, width = self.student.shape[1], self.scratch[0].shape[1]
        for first in range(0, columns, width):
            yield slice(first, min(first + width, columns))

    def scaled(self, columns: slice, student_less: Tensor, teacher_less: Tensor) -> tuple[Tensor, Tensor]:
        """Logits over T of a slice, u and v, each less a number of its row, [t, 1]."""
        scale = 1.0 / self.objective.temperature
        both = []
        for place, (logits, less) in enumerate(((self.student, student_less), (self.teacher, teacher_less))):
            values = self._room(place, columns).copy_(logits[:, columns])
            both.append((values if scale == 1.0 else values.mul_(scale)).sub_(less))
        return both[0], both[1]

    def exponentials(self, u: Tensor, v: Tensor, columns: slice) -> tuple[Tensor, Tensor]:
        return torch.exp(u, out=self._room(2, columns)), torch.exp(v, out=self._room(3, columns))

    def weighted_(self, values: Tensor, probabilities: Tensor) -> Tensor:
        """Values times probabilities, in place; 0 where the probability is, whatever the value."""
        values.mul_(probabilities)
        return values.masked_fill_(probabilities == 0.0, 0.0) if self.excluded else values

    def log_mixture_(self, p: Tensor, q: Tensor) -> Tensor:
        """log(beta p + (1 - beta) q), in p's place."""
        # The floor keeps a mixture of the smallest numbers from vanishing where p or q has not.
        mixture = p.mul_(self.objective.beta).add_(q, alpha=1.0 - self.objective.beta)
        return mixture.clamp_(min=torch.finfo(p.dtype).tiny).log_()

    def _room(self, place: int, columns: slice) -> Tensor:
        return self.scratch[place][:, : columns.stop - columns.start]


def _read(tile: _Tile) -> _Sums:
    objective, dtype = tile.objective, tile.scratch[0].dtype
    scale = 1.0 / objective.temperature
    student_top = tile.student.amax(1, keepdim=True).to(dtype) * scale
    teacher_top = tile.teacher.amax(1, keepdim=True).to(dtype) * scale
    student_sum, teacher_sum, hard_sum, cross = (torch.zeros_like(student_top) for _ in range(4))
    softened = objective.hard_weight > 0.0 and objective.temperature != 1.0
    for columns in tile.slices():
        u, v = tile.scaled(columns, student_top, teacher_top)
        if softened:
            hard_sum += (u * objective.temperature).exp_().sum(1, keepdim=True)
        q, p = tile.exponentials(u, v, columns)
        student_sum += q.sum(1, keepdim=True)
        teacher_sum += p.sum(1, keepdim=True)
        if objective.divergence == "forward":
            cross += tile.weighted_(v.sub_(u), p).sum(1, keepdim=True)
        elif objective.divergence == "reverse":
            cross += tile.weighted_(u.sub_(v), q).sum(1, keepdim=True)
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
        sums.divergence, sums.centre = _mixture(tile, sums)
    return sums


def _mixture(tile: _Tile, sums: _Sums) -> tuple[Tensor, Tensor]:
    """The Jensen-Shannon divergence, and KL(q || m)."""
    by_teacher, by_student = torch.zeros_like(sums.log_student), torch.zeros_like(sums.log_student)
    for columns in tile.slices():
        log_q, log_p = tile.scaled(columns, sums.student_lse, sums.teacher_lse)
        q, p = tile.exponentials(log_q, log_p, columns)
        log_m = tile.log_mixture_(p.clone(), q)
        by_teacher += tile.weighted_(log_p.sub_(log_m), p).sum(1, keepdim=True)
        by_student += tile.weighted_(log_q.sub_(log_m), q).sum(1, keepdim=True)
    beta = tile.objective.beta
    return beta * by_teacher + (1.0 - beta) * by_student, by_student


def _write(tile: _Tile, labels: Tensor | None, gradient: Tensor, sums: _Sums) -> None:
    objective = tile.objective
    hard = objective.hard_weight
    for columns in tile.slices():
        log_q, log_p = tile.scaled(columns, sums.student_lse, sums.teacher_lse)
        q, p = tile.exponentials(log_q, log_p, columns)
        if objective.divergence == "forward":
            slope = torch.sub(q, p, out=p)
        elif objective.divergence == "reverse":
            slope = tile.weighted_(torch.sub(log_q, log_p, out=log_p).sub_(sums.centre), q)
        else:
            log_m = tile.log_mixture_(p, q)
            slope = tile.weighted_(torch.sub(log_q, log_m, out=log_m).sub_(sums.centre), q)
            slope.mul_(1.0 - objective.beta)
        if objective.soft_slope != 1.0:
            slope.mul_(objective.soft_slope)
        if hard:
            assert labels is not None
            slope.add_(_hard_probabilities(log_q, q, objective, sums), alpha=hard)
            inside = ((labels >= columns.start) & (labels < columns.stop)).nonzero().squeeze(1)
            slope[inside, labels[inside] - columns.start] -= hard
        gradient[:, columns] = slope


def _hard_probabilities(log_q: Tensor, q: Tensor, objective: Objective, sums: _Sums) -> Tensor:
    """softmax(s), from log q = (s - highest s) / T - log sum."""
    if objective.temperature == 1.0:
        return q
    return log_q.add_(sums.log_student).mul_(objective.temperature).sub_(sums.log_hard).exp_()
