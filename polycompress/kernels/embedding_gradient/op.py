"""The public operation: checks, and the choice of implementation."""

from __future__ import annotations

import torch
from torch import Tensor

from polycompress.errors import InputError
from polycompress.kernels.choosing import Impl, choose_impl
from polycompress.kernels.embedding_gradient.reference import embedding_gradient_reference

_UPSTREAM = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def embedding_gradient(ids: Tensor, upstream: Tensor, *, impl: Impl = "auto") -> tuple[Tensor, Tensor]:
    """The gradient of a table whose rows ``ids`` were looked up: only the rows that were.

    Sorts by id and sums runs of equal ids, in float32 whatever the upstream's type, in an order that depends on the ids
    alone: two calls agree bit for bit. What it costs depends on N and d, not on the table.

    Args:
        ids: (N,) int32 or int64, each at least 0.
        upstream: (N, d) float32, bfloat16, float16 or float64, of any strides: the gradient of what was looked up.
        impl: Which implementation.

    Returns:
        The distinct rows, (R,) int64 increasing, and their summed gradients, (R, d) float32 (float64 for a float64
        upstream, which always runs the reference).

    Raises:
        InputError: Shapes or types are others, or an id is negative.

    Example:
        >>> rows, sums = embedding_gradient(torch.tensor([7, 2, 7]), torch.eye(3))
        >>> rows.tolist(), sums.tolist()
        ([2, 7], [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    """
    if ids.ndim != 1 or ids.dtype not in (torch.int32, torch.int64):
        raise InputError(
            f"embedding_gradient: ids must be (N,) int32 or int64, got {tuple(ids.shape)} {ids.dtype}"
        )
    if upstream.ndim != 2 or upstream.shape[0] != ids.shape[0]:
        raise InputError(
            f"embedding_gradient: upstream must be (N, d) with N = {ids.shape[0]} as in ids, "
            f"got {tuple(upstream.shape)}"
        )
    if upstream.dtype not in _UPSTREAM:
        raise InputError(f"embedding_gradient: upstream must be floating, got {upstream.dtype}")
    chosen = choose_impl(impl, "embedding_gradient", ids, upstream)
    if chosen == "reference" or upstream.dtype is torch.float64 or upstream.numel() == 0:
        rows, sums = embedding_gradient_reference(ids, upstream)
    else:
        from polycompress.kernels.embedding_gradient.kernel import embedding_gradient_triton

        rows, sums = embedding_gradient_triton(ids, upstream)
    if rows.numel() and int(rows[0]) < 0:
        raise InputError(f"embedding_gradient: id {int(rows[0])} is negative; ids are rows of a table")
    return rows, sums


def merge_rows(gradient: Tensor, *, impl: Impl = "auto") -> tuple[Tensor, Tensor]:
    """Rows and values of a sparse gradient, each row once and in increasing order.

    Args:
        gradient: (V, d) sparse COO with one sparse dimension; coalesced, or (as after several micro-batches) not.
        impl: Which implementation merges rows that come twice.

    Returns:
        (R,) int64 increasing and (R, d) of the gradient's type, float32 at least.
    """
    rows, values = gradient._indices()[0], gradient._values()
    # Autograd drops the mark "coalesced" when it stores a gradient, so the rows themselves are looked at.
    if gradient.is_coalesced() or bool((rows[1:] > rows[:-1]).all()):
        return rows, values
    return embedding_gradient(rows, values, impl=impl)
