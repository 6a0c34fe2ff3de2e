"""Networks of experts over rows sorted by expert, one expert after the other: for processors.

Each expert's rows go through its whole network before the next one's, so that what lies between its two ends stays in
the processor's cache; where products are computed in another type than parameters have, each expert's are converted as
their turn comes; gradients are written to their slices of [E, ...] directly. Of all that lies between only the
inputs of the activation are kept for the backward pass, which applies it again. This was faster than torch's grouped
product, than products of padded batches, and than a loop over experts that autograd sees
(``eval/speed/moe.py`` compares the last one).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Activation = Callable[[Tensor], Tensor]


def segment_networks(
    rows: Tensor,
    sizes: Sequence[int],
    activation: Activation,
    *,
    up: Tensor,
    down: Tensor,
    gate: Tensor | None = None,
    up_bias: Tensor | None = None,
    down_bias: Tensor | None = None,
) -> Tensor:
    """Each expert's rows through its network.

    Args:
        rows: (S, d), sorted by expert.
        sizes: E numbers of rows, which add up to S.
        activation: Elementwise, without parameters.
        up: (E, f, d); parameters of another type than the rows' are converted to theirs, and gradients back.
        down: (E, d, f)
        gate: (E, f, d); the inner vector is then activation(gate) * up.
        up_bias: (E, f)
        down_bias: (E, d)

    Returns:
        (S, d). An expert without rows gets zero gradients.
    """
    made: Tensor = _Segments.apply(rows, tuple(sizes), activation, up, up_bias, down, down_bias, gate)
    return made


class _Segments(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        sizes: tuple[int, ...],
        activation: Activation,
        up: Tensor,
        up_bias: Tensor | None,
        down: Tensor,
        down_bias: Tensor | None,
        gate: Tensor | None,
    ) -> Tensor:
        made = rows.new_empty(len(rows), down.shape[1])
        matrices = [each for each in (up, down, gate) if each is not None]
        keeps, kept = any(ctx.needs_input_grad), []
        for expert, (given, out) in enumerate(zip(rows.split(sizes), made.split(sizes), strict=True)):
            own = [each[expert].to(rows.dtype) for each in matrices]
            inner = [_linear(given, own[0], up_bias, expert)]
            inner += [torch.mm(given, each.T) for each in own[2:]]
            kept += [*own, *inner] if keeps else []
            _linear(_activated(activation, *inner), own[1], down_bias, expert, out=out)
        ctx.sizes, ctx.activation = sizes, activation
        ctx.save_for_backward(rows, up, up_bias, down, down_bias, gate, *kept)
        return made

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        rows, up, up_bias, down, down_bias, gate, *kept = ctx.saved_tensors
        parameters = up, up_bias, down, down_bias, gate
        learns = any(ctx.needs_input_grad[3:])
        to_rows = torch.empty_like(rows)
        found = [torch.empty_like(each) if learns and each is not None else None for each in parameters]
        to_up, to_up_bias, to_down, to_down_bias, to_gate = found
        gated = gate is not None
        per_expert = 5 if gated else 3
        parts = zip(rows.split(ctx.sizes), gradient.split(ctx.sizes), to_rows.split(ctx.sizes), strict=True)
        for expert, (given, came, out) in enumerate(parts):
            own_up, own_down, *others = kept[expert * per_expert :][:per_expert]
            inner = [each.detach().requires_grad_() for each in (others[1:] if gated else others)]
            with torch.enable_grad():
                hidden = _activated(ctx.activation, *inner)
            to_inner = torch.autograd.grad(hidden, inner, torch.mm(came, own_down))
            _put(came, hidden.detach(), to_down, to_down_bias, expert)
            _put(to_inner[0], given, to_up, to_up_bias, expert)
            torch.mm(to_inner[0], own_up, out=out)
            if gated:
                _put(to_inner[1], given, to_gate, None, expert)
                out.addmm_(to_inner[1], others[0])
        return to_rows, None, None, to_up, to_up_bias, to_down, to_down_bias, to_gate


def _linear(
    given: Tensor, weight: Tensor, bias: Tensor | None, expert: int, *, out: Tensor | None = None
) -> Tensor:
    if bias is None:
        return torch.mm(given, weight.T, out=out)
    return torch.addmm(bias[expert].to(given.dtype), given, weight.T, out=out)


def _activated(activation: Activation, up: Tensor, gate: Tensor | None = None) -> Tensor:
    return activation(up) if gate is None else activation(gate) * up


def _put(came: Tensor, given: Tensor, weight: Tensor | None, bias: Tensor | None, expert: int) -> None:
    """Write one expert's gradients, zeros where it has no rows."""
    if weight is not None and weight.dtype == came.dtype:
        torch.mm(came.T, given, out=weight[expert])
    elif weight is not None:
        weight[expert] = torch.mm(came.T, given)
    if bias is not None:
        torch.sum(came, dim=0, dtype=bias.dtype, out=bias[expert])
