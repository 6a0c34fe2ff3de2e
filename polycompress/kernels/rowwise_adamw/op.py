"""The public operations: checks, and the choice of implementation."""

from __future__ import annotations

import torch
from torch import Tensor

from polycompress.errors import InputError
from polycompress.kernels.choosing import Impl, choose_impl
from polycompress.kernels.rowwise_adamw.reference import catch_up_reference_, rowwise_adamw_reference_
from polycompress.kernels.rowwise_adamw.state import RowState, next_decay_sum


def rowwise_adamw_(
    table: Tensor,
    rows: Tensor,
    grads: Tensor,
    state: RowState,
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.01,
    decay_sum: float = 0.0,
    impl: Impl = "auto",
) -> None:
    """One AdamW step for the touched rows of a table, in place; what it costs depends on R and d, not on V.

    Each row has its own step count (bias correction by the global step lets a row that comes late overstep up to
    threefold), and its decoupled weight decay is exact for the steps that skipped it: it is multiplied by
    exp(C - C at its last catch-up), C being the running sum of log(1 - lr * weight_decay) over all steps before.
    Whether a row was caught up before makes no difference, not by one bit. The README beside this file states where
    this differs from dense AdamW.

    The caller keeps C: it passes C before this step, and afterwards goes on with
    ``next_decay_sum(decay_sum, lr, weight_decay)``. Rows must have been caught up (``catch_up_``) to C before they were
    read.

    Args:
        table: (V, d) floating, rows contiguous; computed in float32, whatever its type (float64 in float64).
        rows: (R,) int64, distinct, in [0, V).
        grads: (R, d) floating, of any strides.
        state: The table's state.
        lr: Learning rate of this step.
        betas: Decay of the first and the second moment.
        eps: Added to the root of the second moment.
        weight_decay: Decoupled weight decay, as in AdamW.
        decay_sum: C before this step.
        impl: Which implementation.

    Raises:
        InputError: Shapes or types do not fit, a number is outside its range or, where rows are on the CPU, they are
            not distinct or outside the table.

    Reference:
        Loshchilov and Hutter, Decoupled Weight Decay Regularization, algorithm 2, https://arxiv.org/abs/1711.05101
    """
    _check(table, rows, state)
    if grads.shape != (rows.shape[0], table.shape[1]) or not grads.is_floating_point():
        raise InputError(
            f"rowwise_adamw_: grads must be floating, ({rows.shape[0]}, {table.shape[1]}) for these rows and this "
            f"table, got {tuple(grads.shape)} {grads.dtype}"
        )
    _check_numbers(lr=lr, eps=eps, beta1=betas[0], beta2=betas[1])
    next_decay_sum(decay_sum, lr, weight_decay)  # refuses a product outside its range
    chosen = choose_impl(impl, "rowwise_adamw_", table, rows, grads, state.first)
    if grads.numel() == 0:
        return
    with torch.no_grad():
        step = rowwise_adamw_reference_
        if chosen == "triton" and table.dtype is not torch.float64:
            from polycompress.kernels.rowwise_adamw.kernel import rowwise_adamw_triton_ as step
        step(
            table.detach(),
            rows,
            grads,
            state,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            decay_sum=decay_sum,
        )


def catch_up_(table: Tensor, rows: Tensor, state: RowState, decay_sum: float, *, impl: Impl = "auto") -> None:
    """Apply to rows the weight decay of the steps that skipped them, in place, before they are read.

    Args:
        table: (V, d).
        rows: (R,) int64, distinct, in [0, V).
        state: The table's state.
        decay_sum: The running sum of log(1 - lr * weight_decay) over all steps so far.
        impl: Which implementation.

    Raises:
        InputError: As ``rowwise_adamw_``.
    """
    _check(table, rows, state)
    chosen = choose_impl(impl, "catch_up_", table, rows, state.first)
    if rows.numel() == 0 or table.shape[1] == 0:
        return
    with torch.no_grad():
        catch_up = catch_up_reference_
        if chosen == "triton" and table.dtype is not torch.float64:
            from polycompress.kernels.rowwise_adamw.kernel import catch_up_triton_ as catch_up
        catch_up(table.detach(), rows, state, decay_sum=decay_sum)


def caught_up(table: Tensor, state: RowState, decay_sum: float) -> Tensor:
    """A copy of the table with all decay applied: what is exported. The table and its state stay as they are.

    Args:
        table: (V, d).
        state: Its state.
        decay_sum: The running sum of log(1 - lr * weight_decay) over all steps so far.

    Returns:
        (V, d) of the table's type, without a gradient.
    """
    with torch.no_grad():
        owed = torch.exp(decay_sum - state.decayed).to(state.first.dtype).unsqueeze(1)
        copy: Tensor = (table.detach() * owed).to(table.dtype)
        return copy


def _check_numbers(**numbers: float) -> None:
    for name, value in numbers.items():
        if not value >= 0 or (name.startswith("beta") and value >= 1):
            wanted = "at least 0 and below 1" if name.startswith("beta") else "at least 0"
            raise InputError(f"rowwise_adamw_: {name} must be {wanted}, got {value}")


def _check(table: Tensor, rows: Tensor, state: RowState) -> None:
    if table.ndim != 2 or not table.is_floating_point() or table.shape != state.first.shape:
        raise InputError(
            f"the table must be floating and {tuple(state.first.shape)} as its state is, "
            f"got {tuple(table.shape)} {table.dtype}"
        )
    if table.stride(1) != 1 and table.shape[1] > 1:
        raise InputError("the table's rows must be contiguous; call .contiguous() first")
    if rows.ndim != 1 or rows.dtype is not torch.int64:
        raise InputError(f"rows must be (R,) int64, got {tuple(rows.shape)} {rows.dtype}")
    if rows.device.type == "cpu" and rows.numel():
        low, high = (int(bound) for bound in torch.aminmax(rows))
        if low < 0 or high >= table.shape[0]:
            raise InputError(
                f"row {low if low < 0 else high} is outside the table, which has rows 0 to {table.shape[0] - 1}"
            )
        if not bool((rows[1:] > rows[:-1]).all()) and torch.unique(rows).numel() != rows.numel():
            raise InputError("rows must be distinct; merge them with embedding_gradient first")
