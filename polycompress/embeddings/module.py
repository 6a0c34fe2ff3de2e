"""Modules that hold a factorised table: the lookup at one end of a model, the output at the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from polycompress.kernels.choosing import Impl
from polycompress.kernels.factorised_embedding import factorised_embedding


class FactorisedEmbedding(nn.Module):  # type: ignore[misc]
    """An ``nn.Embedding`` whose table is ``coordinates @ primitives``, without ever making it.

    Args:
        num_embeddings: V, tokens.
        embedding_dim: d, width of what is looked up.
        rank: r, width of the coordinates.
        padding_idx: A token that gets no gradient.
        scale: What looked-up rows are multiplied with, as some families do; ``weight`` is without it.
        rounds_scale: Whether the scale is first rounded to the rows' type.
        device: Of the parameters.
        dtype: Of the parameters.
    """

    impl: Impl = "auto"
    sparse = False
    """Whether the coordinates' gradient is sparse by rows, which only optimisers that know such take."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        rank: int,
        padding_idx: int | None = None,
        *,
        scale: float | None = None,
        rounds_scale: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim, self.rank = num_embeddings, embedding_dim, rank
        self.padding_idx, self.scale, self.rounds_scale = padding_idx, scale, rounds_scale
        self.coordinates = nn.Parameter(torch.empty(num_embeddings, rank, device=device, dtype=dtype))
        self.primitives = nn.Parameter(torch.empty(rank, embedding_dim, device=device, dtype=dtype))
        self.reset_parameters()

    @classmethod
    def of(cls, table: nn.Embedding, rank: int) -> FactorisedEmbedding:
        """One of the shape, place and type of a plain table, with random values.

        Raises:
            TypeError: The table does more than to look up and scale.
        """
        if table.max_norm is not None or table.scale_grad_by_freq:
            raise TypeError("a factorised table has neither max_norm nor scale_grad_by_freq")
        found = cls(
            table.num_embeddings,
            table.embedding_dim,
            rank,
            table.padding_idx,
            scale=_scale_of(table),
            rounds_scale=isinstance(getattr(table, "embed_scale", None), Tensor),
            device=table.weight.device,
            dtype=table.weight.dtype,
        )
        found.train(table.training).requires_grad_(table.weight.requires_grad)
        return found

    def reset_parameters(self, std: float = 1.0) -> None:
        """Random values whose product has this standard deviation; the padding token's are zero."""
        share = (std / self.rank**0.5) ** 0.5  # of a sum of r products of two
        with torch.no_grad():
            nn.init.normal_(self.coordinates, std=share)
            nn.init.normal_(self.primitives, std=share)
            if self.padding_idx is not None:
                self.coordinates[self.padding_idx].zero_()

    @property
    def weight(self) -> Tensor:
        """The table that the factors stand for, [V, d]: made anew each time, with gradients to both factors.

        Of large vocabularies this takes long; ask the parameters for shape, type and device.
        """
        return self.coordinates @ self.primitives

    def forward(self, input: Tensor) -> Tensor:
        """Rows of the table, (*input.shape, d)."""
        rows = factorised_embedding(
            input,
            self.coordinates,
            self.primitives,
            padding_idx=self.padding_idx,
            sparse=self.sparse,
            impl=self.impl,
        )
        if self.scale is None:
            return rows
        return rows * (rows.new_tensor(self.scale) if self.rounds_scale else self.scale)

    def row_tables(self) -> tuple[nn.Parameter, ...]:
        """The parameters whose gradients are sparse by rows: how an optimiser finds them."""
        return (self.coordinates,) if self.sparse else ()

    def extra_repr(self) -> str:
        """Sizes."""
        more = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        more += "" if self.scale is None else f", scale={self.scale:g}"
        return f"{self.num_embeddings}, {self.embedding_dim}, rank={self.rank}{more}"


class FactorisedHead(nn.Module):  # type: ignore[misc]
    """An output over the vocabulary whose table is factorised: h P^T, then times F^T, plus a bias.

    Its parameters are meant to be those of a ``FactorisedEmbedding``, tied by name as libraries tie plain tables.

    Args:
        in_features: d.
        out_features: V.
        rank: r.
        bias: Whether there is one.
        device: Of the parameters.
        dtype: Of the parameters.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: int,
        *,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features, self.rank = in_features, out_features, rank
        self.coordinates = nn.Parameter(torch.empty(out_features, rank, device=device, dtype=dtype))
        self.primitives = nn.Parameter(torch.empty(rank, in_features, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(out_features, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    @classmethod
    def of(cls, head: nn.Linear, rank: int) -> FactorisedHead:
        """One of the shape, place and type of a plain output; the bias is the same parameter."""
        found = cls(
            head.in_features,
            head.out_features,
            rank,
            bias=False,
            device=head.weight.device,
            dtype=head.weight.dtype,
        )
        found.bias = head.bias
        found.train(head.training)
        return found

    def reset_parameters(self, std: float = 0.02) -> None:
        """Random factors whose product has this standard deviation; the bias is left alone."""
        share = (std / self.rank**0.5) ** 0.5
        nn.init.normal_(self.coordinates, std=share)
        nn.init.normal_(self.primitives, std=share)

    @property
    def weight(self) -> Tensor:
        """The output table, [V, d]: made anew each time, with gradients to both factors."""
        return self.coordinates @ self.primitives

    def project(self, hidden: Tensor) -> Tensor:
        """Hidden states times P^T, [..., r]: what the coordinates are multiplied with."""
        return functional.linear(hidden, self.primitives)

    def forward(self, hidden: Tensor) -> Tensor:
        """Logits, [..., V]."""
        return functional.linear(self.project(hidden), self.coordinates, self.bias)

    def extra_repr(self) -> str:
        """Sizes."""
        return f"{self.in_features}, {self.out_features}, rank={self.rank}, bias={self.bias is not None}"


def _scale_of(table: nn.Embedding) -> float | None:
    """What a table's module multiplies its rows with; None: it is a plain one.

    Raises:
        TypeError: It is of a kind that is not known.
    """
    if type(table) is nn.Embedding:
        return None
    # Gemma 3 keeps the number beside a buffer, which has no value yet while a checkpoint is being loaded.
    scale = getattr(table, "scalar_embed_scale", getattr(table, "embed_scale", None))
    if isinstance(scale, Tensor) and scale.device.type != "meta":
        scale = float(scale)
    if not isinstance(scale, int | float):
        raise TypeError(f"a {type(table).__name__} does more than look rows up; it cannot be factorised")
    return None if scale == 1.0 else float(scale)
