"""A loss whose gradients are computed along with it: what a tile of logits gives is taken while the tile is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def with_gradients(loss: Tensor, pairs: Sequence[tuple[Tensor, Tensor | None]]) -> Tensor:
    """Tie a loss to tensors whose gradients are already known; backward only scales them by what comes from above.

    Args:
        loss: Scalar, computed without a graph.
        pairs: Each tensor with the loss's gradient by it, dense or coalesced sparse; None: this tensor gets none.

    Returns:
        The loss; it requires a gradient if some tensor does and gradients are switched on.
    """
    tied = [(tensor, gradient) for tensor, gradient in pairs if gradient is not None]
    if not tied:
        return loss
    tensors, gradients = zip(*tied, strict=True)
    result: Tensor = _Prepared.apply(loss, len(tensors), *tensors, *gradients)
    return result


def wants_gradient(tensor: Tensor | None) -> bool:
    """Whether a gradient by this tensor will be asked for."""
    return tensor is not None and torch.is_grad_enabled() and bool(tensor.requires_grad)


def sparse_rows(ids: Tensor, rows: Tensor, size: tuple[int, ...]) -> Tensor:
    """A coalesced sparse tensor of whole rows.

    Args:
        ids: [R], increasing.
        rows: [R, d].
        size: Shape of the table.
    """
    return torch.sparse_coo_tensor(
        ids.unsqueeze(0), rows, size=size, is_coalesced=True, check_invariants=False
    )


class _Prepared(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, loss: Tensor, count: int, *tensors: Tensor) -> Tensor:
        ctx.dtypes = [tensor.dtype for tensor in tensors[:count]]
        ctx.save_for_backward(*tensors[count:])  # freed by backward, though the loss may live on
        return loss.clone()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        scaled = [
            _scaled(gradient, upstream, dtype)
            for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        ]
        return (None, None, *scaled, *(None for _ in scaled))


def _scaled(gradient: Tensor, upstream: Tensor, dtype: torch.dtype) -> Tensor:
    if gradient.is_sparse:
        values = (gradient.values() * upstream).to(dtype)
        return sparse_rows(gradient.indices()[0], values, tuple(gradient.shape))
    return (gradient * upstream).to(dtype)
