"""Tokens through networks of experts, one expert after the other: for processors.

Each expert's tokens go through its whole network before the next one's, so that what lies between its two ends stays in
the processor's cache, and nothing of the size of all experts' rows is ever made. Where products are computed in another
type than parameters have, each expert's are converted as their turn comes; gradients are written to their slices of
[E, ...] directly. Of what lies between the ends only the inputs of the activation are kept for the backward pass, which
applies it again. This was faster than torch's grouped product, than products of padded batches, and than a loop over
experts that autograd sees (``eval/speed/moe.py`` compares the last one).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from polycompress.moe.sorting import Groups

Activation = Callable[[Tensor], Tensor]


def segment_networks(
    hidden: Tensor,
    weights: Tensor,
    groups: Groups,
    activation: Activation,
    *,
    up: Tensor,
    down: Tensor,
    gate: Tensor | None = None,
    up_bias: Tensor | None = None,
    down_bias: Tensor | None = None,
) -> Tensor:
    """The weighted sum of each token's experts. Sums are the same in every run: experts add one after the other.

    Args:
        hidden: (T, d)
        weights: (T, k)
        groups: Of the choices.
        activation: Elementwise, without parameters.
        up: (E, f, d); parameters of another type than ``hidden``'s are converted to its, and gradients back.
        down: (E, d, f)
        gate: (E, f, d); the inner vector is then activation(gate) * up.
        up_bias: (E, f)
        down_bias: (E, d)

    Returns:
        (T, d), of the type of ``hidden``, summed in the wider of its and the weights'. An expert without tokens gets
        zero gradients.
    """
    made: Tensor = _Segments.apply(hidden, weights, groups, activation, up, up_bias, down, down_bias, gate)
    return made


class _Segments(torch.autograd.Function):  # type: ignore[misc]
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weights: Tensor,
        groups: Groups,
        activation: Activation,
        up: Tensor,
        up_bias: Tensor | None,
        down: Tensor,
        down_bias: Tensor | None,
        gate: Tensor | None,
    ) -> Tensor:
        wide = torch.promote_types(hidden.dtype, weights.dtype)
        total = torch.zeros_like(hidden, dtype=wide)
        matrices = [each for each in (up, down, gate) if each is not None]
        keeps, kept = any(ctx.needs_input_grad), []
        for expert, tokens, choices in _experts(groups):
            own = [each[expert].to(hidden.dtype) for each in matrices]
            given = hidden.index_select(0, tokens)
            inner = [_linear(given, own[0], up_bias, expert)]
            inner += [torch.mm(given, each.T) for each in own[2:]]
            made = _linear(_activated(activation, *inner), own[1], down_bias, expert)
            kept += [made, *own, *inner] if keeps else []
            total.index_add_(0, tokens, made * weights.take(choices).unsqueeze(1))
        ctx.groups, ctx.activation = groups, activation
        ctx.save_for_backward(hidden, weights, up, up_bias, down, down_bias, gate, *kept)
        return total.to(hidden.dtype)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        hidden, weights, up, up_bias, down, down_bias, gate, *kept = ctx.saved_tensors
        learns = any(ctx.needs_input_grad[4:])
        parameters = up, up_bias, down, down_bias, gate
        found = [torch.empty_like(each) if learns and each is not None else None for each in parameters]
        to_up, to_up_bias, to_down, to_down_bias, to_gate = found
        to_hidden, to_weights = torch.zeros_like(hidden), torch.empty_like(weights)
        per_expert = 4 if gate is None else 6
        for expert, tokens, choices in _experts(ctx.groups):
            made, own_up, own_down, *others = kept[expert * per_expert :][:per_expert]
            own_gate, inner = (None, others) if gate is None else (others[0], others[1:])
            given, came = hidden.index_select(0, tokens), gradient.index_select(0, tokens)
            to_weights.view(-1)[choices] = (came.to(weights.dtype) * made).sum(dim=1).to(weights.dtype)
            came = (came * weights.take(choices).unsqueeze(1)).to(hidden.dtype)
            inner = [each.detach().requires_grad_() for each in inner]
            with torch.enable_grad():
                activated = _activated(ctx.activation, *inner)
            to_inner = torch.autograd.grad(activated, inner, torch.mm(came, own_down))
            _put(came, activated.detach(), to_down, to_down_bias, expert)
            _put(to_inner[0], given, to_up, to_up_bias, expert)
            to_given = torch.mm(to_inner[0], own_up)
            if own_gate is not None:
                _put(to_inner[1], given, to_gate, None, expert)
                to_given.addmm_(to_inner[1], own_gate)
            to_hidden.index_add_(0, tokens, to_given)
        return to_hidden, to_weights, None, None, to_up, to_up_bias, to_down, to_down_bias, to_gate


def _experts(groups: Groups) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Each expert, its tokens, and which of all choices they are."""
    sizes = groups.counts.tolist()
    parts = zip(groups.tokens.split(sizes), groups.choices.split(sizes), strict=True)
    return ((expert, tokens, choices) for expert, (tokens, choices) in enumerate(parts))


def _linear(given: Tensor, weight: Tensor, bias: Tensor | None, expert: int) -> Tensor:
    if bias is None:
        return torch.mm(given, weight.T)
    return torch.addmm(bias[expert].to(given.dtype), given, weight.T)


def _activated(activation: Activation, up: Tensor, gate: Tensor | None = None) -> Tensor:
    return activation(up) if gate is None else activation(gate) * up


def _put(came: Tensor, given: Tensor, weight: Tensor | None, bias: Tensor | None, expert: int) -> None:
    """Write one expert's gradients, zeros where it has no rows."""
    if weight is not None and weight.dtype == came.dtype:
        torch.mm(came.T, given, out=weight[expert])
    elif weight is not None:
        weight[expert] = torch.mm(came.T, given)
    if bias is not None:
        torch.sum(came, dim=0, dtype=bias.dtype, out=bias[expert])
