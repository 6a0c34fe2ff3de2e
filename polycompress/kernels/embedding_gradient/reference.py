"""Plain torch: sort by id, then one sum per run of equal ids."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def embedding_gradient_reference(ids: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct rows and their summed gradients; see ``embedding_gradient``.

    A bag of gradients per row, in order of position: deterministic on every device, since no two threads add to one
    sum, and on the CPU as fast as memory allows.

    Args:
        ids: (N,) int32 or int64.
        upstream: (N, d) of any floating type.

    Returns:
        (R,) int64 increasing, and (R, d) float32 (float64 for a float64 upstream).
    """
    exact = torch.float64 if upstream.dtype is torch.float64 else torch.float32
    if ids.numel() == 0:
        return ids.new_empty(0, dtype=torch.int64), upstream.new_zeros(0, upstream.shape[1], dtype=exact)
    ordered, order = torch.sort(ids, stable=True)
    rows, counts = torch.unique_consecutive(ordered, return_counts=True)
    starts = counts.cumsum(0) - counts
    sums = functional.embedding_bag(order, upstream.to(exact).contiguous(), starts, mode="sum")
    return rows.long(), sums
