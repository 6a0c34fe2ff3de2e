"""Tokens sorted by expert, and one product of each expert's tokens with its own matrix.

T tokens with k experts each make S = T k rows. Sorting, products and sums are the same in every run: no two rows are
ever added by atomic operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_ALIGNMENT_BYTES = 16
"""Of the rows that the fused product on a GPU takes."""


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


def grouped_linear(rows: Tensor, weight: Tensor, bias: Tensor | None, counts: Tensor) -> Tensor:
    """Each expert's rows times its matrix, plus its bias.

    Args:
        rows: (S, in), sorted by expert.
        weight: (E, out, in), of the rows' type.
        bias: (E, out), of the rows' type; None: no bias.
        counts: (E,) rows of each expert.

    Returns:
        (S, out). An expert without rows gets zero gradients.
    """
    made: Tensor = _GroupedLinear.apply(rows, weight, bias, counts)
    return made


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


class _GroupedLinear(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None, counts: Tensor) -> Tensor:
        ctx.fused = _is_fused(rows, weight)
        ctx.has_bias = bias is not None
        ctx.sizes = [] if ctx.fused else counts.tolist()
        ends = counts.cumsum(0).to(torch.int32)
        ctx.save_for_backward(rows, weight, ends)
        if ctx.fused:
            made: Tensor = torch.nn.functional.grouped_mm(rows, weight.transpose(1, 2), offs=ends)
            return made if bias is None else made.add_(_spread(bias, ends, len(rows)))
        made = rows.new_empty(len(rows), weight.shape[1])
        parts = zip(rows.split(ctx.sizes), made.split(ctx.sizes), strict=True)
        for expert, (given, out) in enumerate(parts):
            if bias is None:
                torch.mm(given, weight[expert].T, out=out)
            else:
                torch.addmm(bias[expert], given, weight[expert].T, out=out)
        return made

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, ends = ctx.saved_tensors
        gradient = gradient.contiguous()
        if ctx.fused:
            grouped_mm = torch.nn.functional.grouped_mm
            to_rows = grouped_mm(gradient, weight, offs=ends)
            to_weight = grouped_mm(gradient.T, rows, offs=ends)
            to_bias = _sums(gradient, ends, len(weight)) if ctx.has_bias else None
            return to_rows, to_weight, to_bias, None
        to_rows, to_weight = torch.empty_like(rows), torch.empty_like(weight)
        to_bias = weight.new_empty(weight.shape[:2]) if ctx.has_bias else None
        parts = zip(rows.split(ctx.sizes), gradient.split(ctx.sizes), to_rows.split(ctx.sizes), strict=True)
        for expert, (given, came, out) in enumerate(parts):
            torch.mm(came, weight[expert], out=out)
            torch.mm(came.T, given, out=to_weight[expert])  # zeros without rows
            if to_bias is not None:
                torch.sum(came, dim=0, out=to_bias[expert])
        return to_rows, to_weight, to_bias, None


def _is_fused(rows: Tensor, weight: Tensor) -> bool:
    """Whether one launch does all products: on GPUs, in bf16, with rows of whole 16 bytes.

    On processors torch's own grouped product is slower than a product for each expert.
    """
    if rows.device.type != "cuda" or rows.dtype != torch.bfloat16 or not len(rows):
        return False
    if not hasattr(torch.nn.functional, "grouped_mm") or torch.cuda.get_device_capability(rows.device) < (
        8,
        0,
    ):
        return False
    return all(size * rows.element_size() % _ALIGNMENT_BYTES == 0 for size in weight.shape[1:])


def _spread(bias: Tensor, ends: Tensor, rows: int) -> Tensor:
    """Each row's bias, (S, out)."""
    return bias.index_select(0, _experts_of(ends, rows))


def _sums(gradient: Tensor, ends: Tensor, experts: int) -> Tensor:
    """Sums over each expert's rows, (E, out): a product with zeros and ones, which adds in a fixed order."""
    own = _experts_of(ends, len(gradient)) == torch.arange(experts, device=ends.device).unsqueeze(1)
    return own.to(gradient.dtype) @ gradient


def _experts_of(ends: Tensor, rows: int) -> Tensor:
    """The expert of each row, (S,)."""
    return torch.searchsorted(ends, torch.arange(rows, device=ends.device, dtype=ends.dtype), right=True)
