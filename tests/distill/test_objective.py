"""What all objectives share."""

from __future__ import annotations

import torch

from polycompress.distill.objective import masked_mean
from polycompress.distill.outputs import Needs


def test_masked_mean_counts_what_the_mask_says() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, float("inf")]], requires_grad=True)
    mean = masked_mean(values, torch.tensor([[True, False], [True, False]]))
    mean.backward()
    assert mean.item() == 2.0
    assert values.grad is not None
    assert values.grad.tolist() == [[0.5, 0.0], [0.5, 0.0]]


def test_masked_mean_over_nothing_is_zero_with_gradients() -> None:
    values = torch.ones(3, requires_grad=True)
    mean = masked_mean(values, torch.zeros(3, dtype=torch.bool))
    mean.backward()
    assert mean.item() == 0.0
    assert values.grad is not None
    assert values.grad.tolist() == [0.0, 0.0, 0.0]


def test_masks_broadcast_and_halves_are_widened() -> None:
    values = torch.ones(2, 3, dtype=torch.bfloat16)
    mean = masked_mean(values, torch.tensor([[True], [False]]))
    assert mean.dtype == torch.float32
    assert mean.item() == 1.0
    assert (
        masked_mean(torch.ones(2, dtype=torch.float64), torch.ones(2, dtype=torch.bool)).dtype
        == torch.float64
    )


def test_needs_join() -> None:
    joined = Needs(hidden=frozenset({0}), logits=True) | Needs(hidden=frozenset({2}), keys=frozenset({1}))
    assert joined == Needs(hidden=frozenset({0, 2}), keys=frozenset({1}), logits=True)
