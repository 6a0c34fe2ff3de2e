"""Experts one after the other in plain torch: obvious rather than fast, in any type, for tests and comparisons."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


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
    for expert in range(len(up)):
        tokens, choices = torch.where(indices == expert)
        if not len(tokens):
            continue
        given = hidden[tokens]
        inner = given @ up[expert].T
        if up_bias is not None:
            inner = inner + up_bias[expert]
        inner = activation(inner) if gate is None else activation(given @ gate[expert].T) * inner
        made = inner @ down[expert].T
        if down_bias is not None:
            made = made + down_bias[expert]
        total = total.index_add(0, tokens, made * weights[tokens, choices, None].to(made.dtype))
    return total
