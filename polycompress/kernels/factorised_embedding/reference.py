"""The lookup in plain torch: as it is defined, and in pieces that never hold all looked-up coordinates."""

from __future__ import annotations

import torch
from torch import Tensor

_IDS_AT_ONCE = 4096


def factorised_embedding_reference(ids: Tensor, coordinates: Tensor, primitives: Tensor) -> Tensor:
    """``coordinates[ids] @ primitives`` by autograd, with dense gradients; arguments as in ``factorised_embedding``."""
    return coordinates[ids.long()] @ primitives


def lookup(ids: Tensor, coordinates: Tensor, primitives: Tensor, dtype: torch.dtype) -> Tensor:
    """Rows ``ids`` of coordinates times primitives, without a graph.

    Args:
        ids: [N] int32 or int64, rows of the table.
        coordinates: [V, k].
        primitives: [k, d].
        dtype: In which they are multiplied.

    Returns:
        [N, d] of ``dtype``.
    """
    primitives = primitives.to(dtype)
    result = torch.empty((len(ids), primitives.shape[1]), dtype=dtype, device=ids.device)
    for first in range(0, len(ids), _IDS_AT_ONCE):
        part = slice(first, first + _IDS_AT_ONCE)
        torch.mm(coordinates.index_select(0, ids[part]).to(dtype), primitives, out=result[part])
    return result


def primitives_gradient(rows: Tensor, sums: Tensor, coordinates: Tensor) -> Tensor:
    """``coordinates[rows].T @ sums``, in pieces.

    Args:
        rows: [R], distinct.
        sums: [R, d], the upstream gradient summed by row, float32 or float64.
        coordinates: [V, k].

    Returns:
        [k, d] of the sums' dtype.
    """
    total = sums.new_zeros((coordinates.shape[1], sums.shape[1]))
    for first in range(0, len(rows), _IDS_AT_ONCE):
        part = slice(first, first + _IDS_AT_ONCE)
        total.addmm_(coordinates.index_select(0, rows[part]).to(sums.dtype).T, sums[part])
    return total
