"""Matrix products for losses that work on tiles of logits: one dtype per side, sums in float32.

cuBLAS and oneDNN multiply faster than a kernel of ours would, so the tiles' products are left to torch. Half-precision
operands give float32 results on CUDA (``out_dtype``, nothing is rounded in between); the CPU has no such product, and
there a tile of half-precision operands is rounded to their dtype, as plain torch rounds it.
"""

from __future__ import annotations

import torch
from torch import Tensor

_HALVES = (torch.float16, torch.bfloat16)
_ROWS_AT_ONCE = 16_384


def working_dtype(*tensors: Tensor) -> torch.dtype:
    """The dtype in which these tensors are multiplied.

    It is the widest of theirs, or autocast's where that is on; autocast leaves float64 alone.
    """
    dtype = tensors[0].dtype
    for tensor in tensors[1:]:
        dtype = torch.promote_types(dtype, tensor.dtype)
    device = tensors[0].device.type
    if torch.is_autocast_enabled(device) and dtype is not torch.float64:
        return torch.get_autocast_dtype(device)
    return dtype


def sum_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of sums and gradients: float64 for float64, else float32."""
    return torch.float64 if dtype is torch.float64 else torch.float32


def tile_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype of a tile of logits whose operands have this dtype."""
    return torch.float32 if device.type == "cuda" and dtype in _HALVES else dtype


def new_tile(tokens: int, columns: int, dtype: torch.dtype, device: torch.device, *, aligned: bool) -> Tensor:
    """Memory for a tile, [tokens, columns]; aligned: each row begins at a multiple of 64 elements, for wide loads."""
    if not aligned:
        return torch.empty((tokens, columns), dtype=dtype, device=device)
    return torch.empty((tokens, -(-columns // 64) * 64), dtype=dtype, device=device)[:, :columns]


def logits_into(out: Tensor, hidden: Tensor, table: Tensor, bias: Tensor | None = None) -> Tensor:
    """``out[:] = hidden @ table.T + bias``.

    Args:
        out: [t, V] of ``tile_dtype``.
        hidden: [t, d].
        table: [V, d] of hidden's dtype.
        bias: [V] of out's dtype.
    """
    if out.dtype is not hidden.dtype:
        torch.mm(hidden, table.T, out_dtype=out.dtype, out=out)
        return out if bias is None else out.add_(bias)
    if bias is None:
        return torch.mm(hidden, table.T, out=out)
    return torch.addmm(bias, hidden, table.T, out=out)


def product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` in the dtype of sums."""
    if left.device.type == "cuda" and left.dtype in _HALVES:
        return torch.mm(left, right, out_dtype=torch.float32)
    return torch.mm(left, right).to(sum_dtype(left.dtype))


def plus_product(total: Tensor | None, left: Tensor, right: Tensor) -> Tensor:
    """``total + left.T @ right``, in total's place; None stands for zeros, which are then never written.

    Args:
        total: [m, d] of the dtype of sums, or None.
        left: [t, m].
        right: [t, d] of left's dtype.
    """
    sums = sum_dtype(left.dtype)
    if left.dtype is sums:
        return torch.mm(left.T, right) if total is None else total.addmm_(left.T, right)
    if left.device.type == "cuda":
        if total is None:
            return product(left.T, right)
        return torch.addmm(total, left.T, right, out_dtype=sums, out=total)
    fresh = total is None
    result = torch.empty((left.shape[1], right.shape[1]), dtype=sums) if total is None else total
    for first in range(
        0, len(result), _ROWS_AT_ONCE
    ):  # the product is rounded before it is added: keep it small
        rows = slice(first, first + _ROWS_AT_ONCE)
        part = torch.mm(left[:, rows].T, right)
        result[rows] = part if fresh else result[rows] + part
    return result
