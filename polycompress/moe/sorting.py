"""Tokens sorted by expert, and put together again.

T tokens with k experts each make S = T k rows. Sums are the same in every run: rows are never added by atomic
operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows of tokens in order of their experts."""

    tokens: Tensor
    """(S,) the token of each row."""
    places: Tensor
    """(T, k) the row of each token's choice."""
    choices: Tensor
    """(S,) which of T k choices, flattened, a row is."""
    counts: Tensor
    """(E,) rows of each expert."""

    @classmethod
    def of(cls, indices: Tensor, experts: int) -> Groups:
        """Sort the choices of tokens.

        Args:
            indices: (T, k) experts.
            experts: E.
        """
        flat = indices.reshape(-1)
        choices = flat.argsort(stable=True)
        places = torch.empty_like(choices)
        places[choices] = torch.arange(len(choices), device=choices.device)
        counts = (flat.unsqueeze(0) == torch.arange(experts, device=flat.device).unsqueeze(1)).sum(dim=1)
        return cls(
            tokens=choices // indices.shape[1], places=places.view_as(indices), choices=choices, counts=counts
        )


def gather(hidden: Tensor, groups: Groups) -> Tensor:
    """Rows of tokens, (T, d) to (S, d)."""
    rows: Tensor = _Gather.apply(hidden, groups.tokens, groups.places)
    return rows


def combine(rows: Tensor, weights: Tensor, groups: Groups) -> Tensor:
    """Each token's rows times their weights, summed in the wider of both types.

    Args:
        rows: (S, d)
        weights: (T, k)
        groups: Of the rows.

    Returns:
        (T, d), of the rows' type.
    """
    summed: Tensor = _Combine.apply(rows, weights, groups.tokens, groups.places, groups.choices)
    return summed


class _Gather(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        return hidden.index_select(0, tokens)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (places,) = ctx.saved_tensors
        total = gradient.index_select(0, places[:, 0])
        for choice in range(1, places.shape[1]):
            total += gradient.index_select(0, places[:, choice])
        return total, None, None


class _Combine(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, weights: Tensor, tokens: Tensor, places: Tensor, choices: Tensor
    ) -> Tensor:
        ctx.save_for_backward(rows, weights, tokens, places, choices)
        total = rows.index_select(0, places[:, 0]) * weights[:, :1]
        for choice in range(1, places.shape[1]):
            total.addcmul_(rows.index_select(0, places[:, choice]).to(total.dtype), weights[:, choice, None])
        return total.to(rows.dtype)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weights, tokens, places, choices = ctx.saved_tensors
        spread = gradient.index_select(0, tokens)
        to_weights = None
        if ctx.needs_input_grad[1]:
            to_weights = (spread.to(weights.dtype) * rows).sum(dim=1)[places]
        own = weights.reshape(-1)[choices].unsqueeze(1)
        return (spread * own).to(rows.dtype), to_weights, None, None, None
