"""The loss of the rows of one tile of logits, and its gradient, for CUDA: one program a row.

The first reading finds, lane by lane and joined once at the end, the sums relative to the highest value seen so far:

    Z_u = sum exp(u - top),   Z_v likewise,   and the sum whose mean is the divergence:
    forward   X = sum exp(v - top_v) (v - u),   D = X / Z_v - lse(v) + lse(u)
    reverse   X = sum exp(u - top_u) (u - v),   D = X / Z_u - lse(u) + lse(v)

so KL needs no second reading for its value. Jensen-Shannon does: m is no function of sums. The last reading writes the
gradient (equations in objective.py), which may lie where the student's logits were.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from polycompress.kernels.linear_distillation.objective import Objective

_BLOCK = 2048
_KINDS = {"forward": 0, "reverse": 1, "jensen-shannon": 2}


@triton.jit  # type: ignore[untyped-decorator]
def _plus_exp(total: tl.tensor, top: tl.tensor, value: tl.tensor) -> tl.tensor:
    """Sum of exp(x - top), given for the old top, with ``value`` added, for the new top max(top, value)."""
    factor = tl.exp(-tl.abs(value - top))
    return tl.where(value > top, total * factor + 1.0, total + factor)


@triton.jit  # type: ignore[untyped-decorator]
def _plus_difference(total: tl.tensor, top: tl.tensor, value: tl.tensor, other: tl.tensor) -> tl.tensor:
    """The same for the sum of exp(x - top) (x - y); a value of minus infinity adds nothing."""
    factor = tl.exp(-tl.abs(value - top))
    term = tl.where(value > float("-inf"), value - other, 0.0)
    added = total + tl.where(factor > 0.0, factor * term, 0.0)
    return tl.where(value > top, total * factor + term, added)


@triton.jit  # type: ignore[untyped-decorator]
def _log_mixture(p: tl.tensor, q: tl.tensor, beta: tl.tensor) -> tl.tensor:
    # The floor keeps a mixture of the smallest numbers from vanishing where p or q has not.
    return tl.log(tl.maximum(beta * p + (1.0 - beta) * q, 1.1754944e-38))


@triton.jit  # type: ignore[untyped-decorator]
def _scaled(logits: tl.tensor, index: tl.tensor, columns: tl.tensor, scale: tl.tensor) -> tl.tensor:
    values = tl.load(logits + index, mask=index < columns, other=float("-inf"))
    return values.to(tl.float32) * scale


@triton.jit  # type: ignore[untyped-decorator]
def _jensen_shannon(
    student: tl.tensor,
    teacher: tl.tensor,
    columns: tl.tensor,
    scale: tl.tensor,
    beta: tl.tensor,
    lse_u: tl.tensor,
    lse_v: tl.tensor,
    BLOCK: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """The divergence of a row, and KL(q || m)."""
    by_teacher = tl.zeros([BLOCK], tl.float32)
    by_student = tl.zeros([BLOCK], tl.float32)
    for first in range(0, columns, BLOCK):
        index = first + tl.arange(0, BLOCK)
        log_q = _scaled(student, index, columns, scale) - lse_u
        log_p = _scaled(teacher, index, columns, scale) - lse_v
        q = tl.exp(log_q)
        p = tl.exp(log_p)
        log_m = _log_mixture(p, q, beta)
        by_teacher += tl.where(p > 0.0, p * (log_p - log_m), 0.0)
        by_student += tl.where(q > 0.0, q * (log_q - log_m), 0.0)
    kl = tl.sum(by_student, axis=0)
    return beta * tl.sum(by_teacher, axis=0) + (1.0 - beta) * kl, kl


@triton.jit  # type: ignore[untyped-decorator]
def _slope(
    log_q: tl.tensor, log_p: tl.tensor, centre: tl.tensor, beta: tl.tensor, KIND: tl.constexpr
) -> tl.tensor:
    """The divergence's gradient by u."""
    q = tl.exp(log_q)
    p = tl.exp(log_p)
    if KIND == 0:
        return q - p
    elif KIND == 1:
        return tl.where(q > 0.0, q * (log_q - log_p - centre), 0.0)
    else:
        return tl.where(q > 0.0, (1.0 - beta) * q * (log_q - _log_mixture(p, q, beta) - centre), 0.0)


@triton.jit  # type: ignore[untyped-decorator]
def _linear_distillation_rows_kernel(
    student: tl.tensor,
    teacher: tl.tensor,
    labels: tl.tensor,
    losses: tl.tensor,
    gradient: tl.tensor,
    columns: tl.tensor,
    student_stride: tl.tensor,
    teacher_stride: tl.tensor,
    gradient_stride: tl.tensor,
    scale: tl.tensor,
    beta: tl.tensor,
    soft_weight: tl.tensor,
    soft_slope: tl.tensor,
    hard_weight: tl.tensor,
    KIND: tl.constexpr,
    HARD: tl.constexpr,
    SOFTENED: tl.constexpr,
    WANT_GRADIENT: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    student += row * student_stride
    teacher += row * teacher_stride
    gradient += row * gradient_stride
    lowest = tl.full([BLOCK], -1.0e30, tl.float32)
    top_u, top_v, top_s = lowest, lowest, lowest
    zero = tl.zeros([BLOCK], tl.float32)
    sum_u, sum_v, sum_s, cross = zero, zero, zero, zero
    for first in range(0, columns, BLOCK):
        index = first + tl.arange(0, BLOCK)
        s = _scaled(student, index, columns, 1.0)
        u = s * scale
        v = _scaled(teacher, index, columns, scale)
        if KIND == 0:
            cross = _plus_difference(cross, top_v, v, u)
        elif KIND == 1:
            cross = _plus_difference(cross, top_u, u, v)
        sum_u = _plus_exp(sum_u, top_u, u)
        sum_v = _plus_exp(sum_v, top_v, v)
        top_u = tl.maximum(top_u, u)
        top_v = tl.maximum(top_v, v)
        if SOFTENED:
            sum_s = _plus_exp(sum_s, top_s, s)
            top_s = tl.maximum(top_s, s)
    high_u = tl.max(top_u, axis=0)
    high_v = tl.max(top_v, axis=0)
    share_u = tl.exp(top_u - high_u)
    share_v = tl.exp(top_v - high_v)
    total_u = tl.sum(sum_u * share_u, axis=0)
    total_v = tl.sum(sum_v * share_v, axis=0)
    lse_u = high_u + tl.log(total_u)
    lse_v = high_v + tl.log(total_v)
    if KIND == 0:
        divergence = tl.sum(cross * share_v, axis=0) / total_v - (lse_v - lse_u)
        centre = divergence
    elif KIND == 1:
        divergence = tl.sum(cross * share_u, axis=0) / total_u - (lse_u - lse_v)
        centre = divergence
    else:
        divergence, centre = _jensen_shannon(student, teacher, columns, scale, beta, lse_u, lse_v, BLOCK)
    loss = soft_weight * divergence
    lse_s = lse_u
    label = 0
    if HARD:
        label = tl.load(labels + row).to(tl.int32)
        if SOFTENED:
            high_s = tl.max(top_s, axis=0)
            lse_s = high_s + tl.log(tl.sum(sum_s * tl.exp(top_s - high_s), axis=0))
        loss += hard_weight * (lse_s - tl.load(student + label).to(tl.float32))
    tl.store(losses + row, loss)
    if WANT_GRADIENT:
        tl.debug_barrier()  # the label's logit has been read before it is overwritten
        for first in range(0, columns, BLOCK):
            index = first + tl.arange(0, BLOCK)
            s = _scaled(student, index, columns, 1.0)
            v = _scaled(teacher, index, columns, scale)
            slope = soft_slope * _slope(s * scale - lse_u, v - lse_v, centre, beta, KIND)
            if HARD:
                slope += hard_weight * (tl.exp(s - lse_s) - tl.where(index == label, 1.0, 0.0))
            tl.store(gradient + index, slope.to(gradient.dtype.element_ty), mask=index < columns)


def distillation_rows_triton(
    student: Tensor, teacher: Tensor, labels: Tensor | None, gradient: Tensor | None, objective: Objective
) -> Tensor:
    """Launch the kernel for a tile; arguments as in ``rows.distillation_rows``, sums in float32."""
    losses = torch.empty(len(student), dtype=torch.float32, device=student.device)
    written = student if gradient is None else gradient
    hard = objective.hard_weight > 0.0
    _linear_distillation_rows_kernel[(len(student),)](
        student,
        teacher,
        labels if labels is not None else losses,
        losses,
        written,
        student.shape[1],
        student.stride(0),
        teacher.stride(0),
        written.stride(0),
        1.0 / objective.temperature,
        objective.beta,
        objective.soft_weight,
        objective.soft_slope,
        objective.hard_weight,
        KIND=_KINDS[objective.divergence],
        HARD=hard,
        SOFTENED=hard and objective.temperature != 1.0,
        WANT_GRADIENT=gradient is not None,
        BLOCK=min(_BLOCK, triton.next_power_of_2(student.shape[1])),
        num_warps=8,
    )
    return losses
