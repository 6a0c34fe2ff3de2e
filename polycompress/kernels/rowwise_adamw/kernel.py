"""Triton: one program per touched row, everything in one pass over it.

For a row with weights w, gradient g, moments m and v, n = its touches with this one, C the decay sum before this step:

    m <- beta1 * m + (1 - beta1) * g
    v <- beta2 * v + (1 - beta2) * g^2                  (one per row: the mean of g^2 over the row)
    w <- (1 - lr * weight_decay) * exp(C - decayed) * w - lr / (1 - beta1^n) * m / (sqrt(v / (1 - beta2^n)) + eps)

Moments and weights are read once and written once. What depends on n and C is computed in float64, once per row: near
1, a float32 has too few digits for 1 - beta2^n and C.
"""

from __future__ import annotations

import math

import numpy as np
import triton
import triton.language as tl
from torch import Tensor

from polycompress.kernels.rowwise_adamw.state import RowState, next_decay_sum


@triton.jit  # type: ignore[untyped-decorator]
def _rowwise_adamw_kernel(
    table: tl.tensor,
    rows: tl.tensor,
    grads: tl.tensor,
    first: tl.tensor,
    second: tl.tensor,
    touches: tl.tensor,
    decayed: tl.tensor,
    width: tl.tensor,
    table_stride: tl.tensor,
    grads_stride_n: tl.tensor,
    grads_stride_d: tl.tensor,
    lr: tl.tensor,
    beta1: tl.tensor,
    beta2: tl.tensor,
    rest1: tl.tensor,
    rest2: tl.tensor,
    log_beta1: tl.tensor,
    log_beta2: tl.tensor,
    eps: tl.tensor,
    shrink: tl.tensor,
    decay_high: tl.tensor,
    decay_low: tl.tensor,
    next_high: tl.tensor,
    next_low: tl.tensor,
    PER_ROW: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    place = tl.program_id(0).to(tl.int64)
    row = tl.load(rows + place).to(tl.int64)
    columns = tl.arange(0, COLUMNS)
    inside = columns < width
    columns = columns.to(tl.int64)

    count = tl.load(touches + row) + 1
    bias1 = (1.0 - tl.exp(count.to(tl.float64) * log_beta1)).to(tl.float32)
    bias2 = (1.0 - tl.exp(count.to(tl.float64) * log_beta2)).to(tl.float32)
    decay_sum = tl.full((), decay_high, tl.float64) + tl.full((), decay_low, tl.float64)
    owed = tl.exp(decay_sum - tl.load(decayed + row)).to(tl.float32)

    gradient = tl.load(grads + place * grads_stride_n + columns * grads_stride_d, mask=inside, other=0.0).to(
        tl.float32
    )
    moment = tl.load(first + row * width + columns, mask=inside, other=0.0)
    moment = beta1 * moment + rest1 * gradient
    tl.store(first + row * width + columns, moment, mask=inside)
    if PER_ROW:
        square = tl.load(second + row)
        square = beta2 * square + rest2 * (tl.sum(gradient * gradient, axis=0) / width)
        tl.store(second + row, square)
    else:
        square = tl.load(second + row * width + columns, mask=inside, other=0.0)
        square = beta2 * square + rest2 * gradient * gradient
        tl.store(second + row * width + columns, square, mask=inside)

    weights = tl.load(table + row * table_stride + columns, mask=inside, other=0.0).to(tl.float32)
    # First what catch_up_ does, rounding included: it must not matter whether a row was caught up before.
    weights = (owed * weights).to(table.dtype.element_ty).to(tl.float32)
    weights = shrink * weights - (lr / bias1) * moment / (tl.sqrt(square / bias2) + eps)
    tl.store(table + row * table_stride + columns, weights.to(table.dtype.element_ty), mask=inside)
    tl.store(touches + row, count)
    tl.store(decayed + row, tl.full((), next_high, tl.float64) + tl.full((), next_low, tl.float64))


@triton.jit  # type: ignore[untyped-decorator]
def _catch_up_kernel(
    table: tl.tensor,
    rows: tl.tensor,
    decayed: tl.tensor,
    width: tl.tensor,
    table_stride: tl.tensor,
    decay_high: tl.tensor,
    decay_low: tl.tensor,
    COLUMNS: tl.constexpr,
) -> None:
    row = tl.load(rows + tl.program_id(0)).to(tl.int64)
    decay_sum = tl.full((), decay_high, tl.float64) + tl.full((), decay_low, tl.float64)
    last = tl.load(decayed + row)
    if last != decay_sum:
        owed = tl.exp(decay_sum - last).to(tl.float32)
        columns = tl.arange(0, COLUMNS)
        inside = columns < width
        columns = columns.to(tl.int64)
        weights = tl.load(table + row * table_stride + columns, mask=inside, other=0.0).to(tl.float32)
        weights = owed * weights
        tl.store(table + row * table_stride + columns, weights.to(table.dtype.element_ty), mask=inside)
        tl.store(decayed + row, decay_sum)


def rowwise_adamw_triton_(
    table: Tensor,
    rows: Tensor,
    grads: Tensor,
    state: RowState,
    *,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decay_sum: float,
) -> None:
    """One step for the given rows, R > 0; see ``rowwise_adamw_reference_``."""
    width = table.shape[1]
    columns = triton.next_power_of_2(width)
    _rowwise_adamw_kernel[(rows.numel(),)](
        table,
        rows,
        grads,
        state.first,
        state.second,
        state.touches,
        state.decayed,
        width,
        table.stride(0),
        grads.stride(0),
        grads.stride(1),
        float(lr),
        float(betas[0]),
        float(betas[1]),
        1.0 - betas[0],
        1.0 - betas[1],
        _log(betas[0]),
        _log(betas[1]),
        float(eps),
        1.0 - lr * weight_decay,
        *_split(decay_sum),
        *_split(next_decay_sum(decay_sum, lr, weight_decay)),
        PER_ROW=state.second.ndim == 1,
        COLUMNS=columns,
        num_warps=_warps(columns),
    )


def catch_up_triton_(table: Tensor, rows: Tensor, state: RowState, *, decay_sum: float) -> None:
    """Apply the decay that the given rows are owed, R > 0; see ``catch_up_``."""
    width = table.shape[1]
    columns = triton.next_power_of_2(width)
    _catch_up_kernel[(rows.numel(),)](
        table,
        rows,
        state.decayed,
        width,
        table.stride(0),
        *_split(decay_sum),
        COLUMNS=columns,
        num_warps=_warps(columns),
    )


def _split(value: float) -> tuple[float, float]:
    """A float64 as the sum of two float32 (Triton passes numbers as float32), exact to 48 bits."""
    high = float(np.float32(value))
    return high, value - high


def _log(beta: float) -> float:
    return math.log(beta) if beta > 0 else -math.inf


def _warps(columns: int) -> int:
    return min(max(columns // 256, 1), 8)
