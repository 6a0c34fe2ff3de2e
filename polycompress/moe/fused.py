"""Networks of experts over rows sorted by expert, all of them in one launch for each product: for GPUs, in bf16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_ALIGNMENT_BYTES: Final = 16
"""What the rows of matrices must be whole multiples of."""
_CAPABILITY: Final = (8, 0)
"""Of the device, at least."""


def can_fuse(rows: Tensor, up: Tensor) -> bool:
    """Whether a device multiplies groups of rows in one launch.

    Args:
        rows: (S, d)
        up: (E, f, d)
    """
    return (
        rows.device.type == "cuda"
        and rows.dtype == torch.bfloat16
        and len(rows) > 0
        and hasattr(torch.nn.functional, "grouped_mm")
        and torch.cuda.get_device_capability(rows.device) >= _CAPABILITY
        and all(size * rows.element_size() % _ALIGNMENT_BYTES == 0 for size in up.shape[1:])
    )


def fused_networks(
    rows: Tensor,
    counts: Tensor,
    activation: Callable[[Tensor], Tensor],
    *,
    up: Tensor,
    down: Tensor,
    gate: Tensor | None = None,
    up_bias: Tensor | None = None,
    down_bias: Tensor | None = None,
) -> Tensor:
    """Each expert's rows through its network; nothing is asked of the device meanwhile.

    Args:
        rows: (S, d), sorted by expert.
        counts: (E,) rows of each, on the device.
        activation: Elementwise.
        up: (E, f, d), of the rows' type, as are all that follow.
        down: (E, d, f)
        gate: (E, f, d); the inner vector is then activation(gate) * up.
        up_bias: (E, f)
        down_bias: (E, d)

    Returns:
        (S, d). An expert without rows gets zero gradients.
    """
    ends = counts.cumsum(0).to(torch.int32)
    inner: Tensor = _GroupedLinear.apply(rows, up, up_bias, ends)
    inner = (
        activation(inner)
        if gate is None
        else activation(_GroupedLinear.apply(rows, gate, None, ends)) * inner
    )
    made: Tensor = _GroupedLinear.apply(inner, down, down_bias, ends)
    return made


class _GroupedLinear(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None, ends: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weight, ends)
        ctx.biased = bias is not None
        made: Tensor = torch.nn.functional.grouped_mm(rows, weight.transpose(1, 2), offs=ends)
        return made if bias is None else made + bias.index_select(0, _experts_of(ends, len(rows)))

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, ends = ctx.saved_tensors
        gradient = gradient.contiguous()
        to_rows = torch.nn.functional.grouped_mm(gradient, weight, offs=ends)
        to_weight = torch.nn.functional.grouped_mm(gradient.T, rows, offs=ends)
        return to_rows, to_weight, _sums(gradient, ends) if ctx.biased else None, None


def _sums(gradient: Tensor, ends: Tensor) -> Tensor:
    """Sums over each expert's rows, (E, out): a product with zeros and ones, which adds in a fixed order."""
    own = _experts_of(ends, len(gradient)) == torch.arange(len(ends), device=ends.device).unsqueeze(1)
    return own.to(gradient.dtype) @ gradient


def _experts_of(ends: Tensor, rows: int) -> Tensor:
    """The expert of each row, (S,)."""
    return torch.searchsorted(ends, torch.arange(rows, device=ends.device, dtype=ends.dtype), right=True)
