"""Experts one after the other in plain torch: obvious rather than fast, in any type, for tests and comparisons."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear


def experts_reference(
    hidden: Tensor,
    indices: Tensor,
    weights: Tensor,
    *,
    up: Tensor,
    down: Tensor,
    gate: Tensor | None = None,
    up_bias: Tensor | None = None,
    down_bias: Tensor | None = None,
    activation: Callable[[Tensor], Tensor],
) -> Tensor:
    """The weighted sum of each token's experts.

    Args:
        hidden: (T, d)
        indices: (T, k) experts, distinct in each row.
        weights: (T, k)
        up: (E, f, d)
        down: (E, d, f)
        gate: (E, f, d); the inner vector is then activation(gate) * up.
        up_bias: (E, f)
        down_bias: (E, d)
        activation: Elementwise.

    Returns:
        (T, d).
    """
    total = torch.zeros_like(hidden)
    # unbound, since the gradient of each index into the whole would be as large as the whole
    gates, biases_up, biases_down = (_slices(each, len(up)) for each in (gate, up_bias, down_bias))
    for expert, (up_own, down_own) in enumerate(zip(up.unbind(), down.unbind(), strict=True)):
        tokens, choices = torch.where(indices == expert)
        if not len(tokens):
            continue
        given = hidden[tokens]
        inner = linear(given, up_own, biases_up[expert])
        gate_own = gates[expert]
        inner = activation(inner) if gate_own is None else activation(linear(given, gate_own)) * inner
        made = linear(inner, down_own, biases_down[expert])
        share = weights[tokens, choices, None].to(made.dtype)
        total = total.index_add(0, tokens, (made * share).to(total.dtype))
    return total


def _slices(parameter: Tensor | None, experts: int) -> Sequence[Tensor | None]:
    found: Sequence[Tensor | None] = (None,) * experts if parameter is None else parameter.unbind()
    return found
