"""Factorised embedding: checks, the graph, and the choice of implementation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from polycompress.errors import InputError
from polycompress.kernels.choosing import Impl, choose_impl
from polycompress.kernels.embedding_gradient import embedding_gradient
from polycompress.kernels.factorised_embedding.reference import lookup, primitives_gradient
from polycompress.kernels.prepared import sparse_rows
from polycompress.kernels.products import working_dtype


def factorised_embedding(
    ids: Tensor,
    coordinates: Tensor,
    primitives: Tensor,
    *,
    padding_idx: int | None = None,
    sparse: bool = True,
    impl: Impl = "auto",
) -> Tensor:
    """Look ids up in the table ``coordinates @ primitives``, of which neither the table nor F[ids] is ever made.

    The upstream gradient is first summed by id (float32, deterministic); the gradients are then products over the
    distinct rows only: with S these sums, F's rows get S P^T and P gets F[rows]^T S (dense).

    Args:
        ids: Any shape, int32 or int64, each a row of the table.
        coordinates: F, [V, k].
        primitives: P, [k, d].
        padding_idx: A row whose looked-up places send no gradient, neither to F nor to P.
        sparse: Whether F's gradient is a coalesced sparse tensor of the ids' rows, or a dense one.
        impl: Which implementation; see ``polycompress.kernels.choosing``.

    Returns:
        [*ids.shape, d], of autocast's dtype where that is on, else of the wider dtype of the two.

    Raises:
        InputError: Shapes do not fit, or an id is outside the table (the Triton kernel does not wait to find out: it
            gives rows of NaN for such ids).

    Reference:
        OFA (Liu et al. 2024), section 3: coordinates of subwords over primitive embeddings.

    Example:
        >>> table = torch.tensor([[1.0, 0.0], [2.0, 1.0]])
        >>> factorised_embedding(torch.tensor([1, 0]), table, torch.tensor([[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]]))
        tensor([[2., 5., 6.],
                [1., 2., 3.]])
    """
    if coordinates.ndim != 2 or primitives.ndim != 2 or coordinates.shape[1] != primitives.shape[0]:
        raise InputError(
            f"factorised_embedding: coordinates {tuple(coordinates.shape)} and primitives {tuple(primitives.shape)} "
            f"have to be [V, k] and [k, d]"
        )
    if ids.dtype not in (torch.int32, torch.int64):
        raise InputError(f"factorised_embedding: ids are {ids.dtype}; they have to be int32 or int64")
    if torch.compiler.is_exporting():
        # A graph has no look at its ids, and no function with a gradient of its own.
        return functional.embedding(ids, coordinates) @ primitives
    chosen = choose_impl(impl, "factorised_embedding", ids, coordinates, primitives)
    result: Tensor = _FactorisedLookup.apply(ids, coordinates, primitives, padding_idx, sparse, chosen)
    return result


class _FactorisedLookup(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any,
        ids: Tensor,
        coordinates: Tensor,
        primitives: Tensor,
        padding_idx: int | None,
        sparse: bool,
        chosen: str,
    ) -> Tensor:
        flat = ids.reshape(-1).contiguous()
        dtype = working_dtype(coordinates, primitives)
        ctx.save_for_backward(flat, coordinates, primitives)
        ctx.padding_idx, ctx.sparse, ctx.chosen = padding_idx, sparse, chosen
        if chosen == "triton" and dtype is not torch.float64 and len(flat) and primitives.shape[1]:
            from polycompress.kernels.factorised_embedding.kernel import lookup_triton

            rows = lookup_triton(flat, coordinates, primitives, dtype)
        else:
            _check_ids(flat, len(coordinates))
            rows = lookup(flat, coordinates, primitives, dtype)
        return rows.view(*ids.shape, primitives.shape[1])

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, upstream: Tensor) -> tuple[None, Tensor | None, Tensor | None, None, None, None]:
        ids, coordinates, primitives = ctx.saved_tensors
        by_coordinates = by_primitives = None
        with torch.autocast(upstream.device.type, enabled=False):
            rows, sums = embedding_gradient(
                ids, upstream.reshape(len(ids), primitives.shape[1]), impl=ctx.chosen
            )
            if ctx.padding_idx is not None:
                kept = rows != ctx.padding_idx
                rows, sums = rows[kept], sums[kept]
            if ctx.needs_input_grad[1]:
                values = torch.mm(sums, primitives.to(sums.dtype).T).to(coordinates.dtype)
                if ctx.sparse:
                    by_coordinates = sparse_rows(rows, values, tuple(coordinates.shape))
                else:
                    by_coordinates = torch.zeros_like(coordinates).index_copy_(0, rows, values)
            if ctx.needs_input_grad[2]:
                by_primitives = primitives_gradient(rows, sums, coordinates).to(primitives.dtype)
        return None, by_coordinates, by_primitives, None, None, None


def _check_ids(ids: Tensor, vocabulary: int) -> None:
    if not len(ids):
        return
    lowest, highest = ids.aminmax()
    if int(lowest) < 0 or int(highest) >= vocabulary:
        place = int(((ids < 0) | (ids >= vocabulary)).nonzero()[0])
        raise InputError(
            f"factorised_embedding: id {int(ids[place])} at place {place} is outside the table, "
            f"which has rows 0 to {vocabulary - 1}"
        )
