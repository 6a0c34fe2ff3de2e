"""Cross-entropy with gold labels."""

from __future__ import annotations

import math

import pytest
import torch

from polycompress.distill.objectives.gold import Gold, gold_cross_entropy
from polycompress.distill.outputs import Given, Outputs
from polycompress.errors import InputError


def test_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [5.0, -math.inf], [0.0, 0.0]])
    loss = gold_cross_entropy(logits, torch.tensor([1, 0, -100]))
    assert loss.item() == pytest.approx(math.log(4 / 3) / 2)


def test_no_label_is_zero_with_gradients() -> None:
    logits = torch.ones(2, 3, requires_grad=True)
    loss = gold_cross_entropy(logits, torch.tensor([-100, -100]))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_tags_and_ends() -> None:
    given = Given(
        mask=torch.ones(2, 4, dtype=torch.bool), labels=torch.tensor([[0, 1, 2, -100], [2, 2, -100, -100]])
    )
    logits = torch.zeros(2, 4, 3, dtype=torch.bfloat16)
    loss = Gold()(Outputs(logits=logits), Outputs(), given)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(3))


def test_without_a_task() -> None:
    with pytest.raises(InputError, match="no logits or no labels"):
        Gold()(Outputs(), Outputs(), Given(mask=torch.ones(1, 1, dtype=torch.bool)))
