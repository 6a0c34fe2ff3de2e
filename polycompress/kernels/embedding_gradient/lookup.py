"""The lookup whose backward pass gives a sparse gradient, and the module that does it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from polycompress.errors import InputError
from polycompress.kernels.choosing import Impl
from polycompress.kernels.embedding_gradient.op import embedding_gradient
from polycompress.kernels.prepared import sparse_rows


def sparse_embedding(
    ids: Tensor, table: Tensor, *, padding_idx: int | None = None, impl: Impl = "auto"
) -> Tensor:
    """Rows of a table; the table's gradient holds these rows only.

    The gradient is a sparse COO tensor: distinct rows in increasing order, values summed in float32 (and then of the
    table's type, as autograd wants it). It arrives coalesced; in ``table.grad`` autograd no longer says so, and after
    several micro-batches it is not: ``merge_rows`` reads it either way.

    Args:
        ids: int32 or int64 of any shape, each in [0, V).
        table: (V, d), floating.
        padding_idx: A row that gets no gradient.
        impl: Which implementation of ``embedding_gradient``.

    Returns:
        (*ids.shape, d) of the table's type.

    Raises:
        InputError: On the CPU, an id lies outside the table (on CUDA the device's own check stops the program).
    """
    if ids.device.type == "cpu" and ids.numel():
        low, high = (int(bound) for bound in torch.aminmax(ids))
        if low < 0 or high >= table.shape[0]:
            raise InputError(
                f"id {low if low < 0 else high} is outside the embedding table, which has rows 0 to "
                f"{table.shape[0] - 1}; do the tokenizer and the model belong together?"
            )
    found: Tensor = _SparseLookup.apply(ids, table, padding_idx, impl)
    return found


class _SparseLookup(torch.autograd.Function):  # type: ignore[misc]
    """y = table[ids]; d table = rows and sums of ``embedding_gradient``."""

    @staticmethod
    def forward(ctx: Any, ids: Tensor, table: Tensor, padding_idx: int | None, impl: Impl) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.table_shape = table.shape
        ctx.table_dtype = table.dtype
        ctx.padding_idx = padding_idx
        ctx.impl = impl
        return table.index_select(0, ids.reshape(-1)).view(*ids.shape, table.shape[1])

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, upstream: Tensor) -> tuple[None, Tensor, None, None]:
        (ids,) = ctx.saved_tensors
        flat = upstream.reshape(-1, ctx.table_shape[1])
        rows, sums = embedding_gradient(ids.reshape(-1), flat, impl=ctx.impl)
        if ctx.padding_idx is not None:
            kept = rows != ctx.padding_idx
            rows, sums = rows[kept], sums[kept]
        return None, sparse_rows(rows, sums.to(ctx.table_dtype), ctx.table_shape), None, None


class SparseEmbedding(nn.Embedding):  # type: ignore[misc]
    """An ``nn.Embedding`` whose gradient costs what the batch touches.

    Parameters, state dict and results are those of ``nn.Embedding``; only the gradient of ``weight`` is sparse.
    ``max_norm`` and ``scale_grad_by_freq`` are refused.
    """

    impl: Impl = "auto"

    @classmethod
    def sharing(cls, module: nn.Embedding) -> SparseEmbedding:
        """A sparse twin of a dense module; both hold the same weight.

        Raises:
            InputError: The module renormalises its rows or scales its gradient by frequency.
        """
        if module.max_norm is not None or module.scale_grad_by_freq:
            raise InputError(
                "a SparseEmbedding has neither max_norm nor scale_grad_by_freq; set them to None and False first"
            )
        with torch.device("meta"):
            twin = cls(module.num_embeddings, module.embedding_dim, padding_idx=module.padding_idx)
        twin.weight = module.weight
        twin.train(module.training)
        return twin

    def forward(self, input: Tensor) -> Tensor:
        """Rows of the table, (*input.shape, embedding_dim)."""
        return sparse_embedding(input, self.weight, padding_idx=self.padding_idx, impl=self.impl)

    def row_tables(self) -> tuple[nn.Parameter, ...]:
        """The parameters whose gradients are sparse by rows: how an optimiser finds them."""
        return (self.weight,)
