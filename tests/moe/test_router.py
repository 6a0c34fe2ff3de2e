from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polycompress.moe.router import balancing_loss, route, supervision_loss


@st.composite
def routings(draw: Any) -> tuple[torch.Tensor, int, bool, torch.Tensor]:
    """Logits, k, whether weights are scaled, and experts of tokens' families, of none for some."""
    tokens, experts = draw(st.integers(1, 12)), draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    logits = torch.randn(tokens, experts, generator=generator) * draw(
        st.sampled_from([0.0, 0.1, 1.0, 30.0, 300.0])
    )
    if draw(st.booleans()):
        logits = logits.round()  # equal ones
    forced = torch.rand(tokens, experts, generator=generator) < draw(st.sampled_from([0.0, 0.2, 0.5, 1.0]))
    return logits, draw(st.integers(1, experts)), draw(st.booleans()), forced


@given(routings())
def test_forcing_follows_its_rules(case: tuple[torch.Tensor, int, bool, torch.Tensor]) -> None:
    logits, k, normalise, forced = case
    free, _, probabilities = route(logits, k, normalise=normalise)
    indices, weights, same = route(logits, k, normalise=normalise, forced=forced)
    assert torch.equal(probabilities, same)
    for token in range(len(logits)):
        before, after = free[token].tolist(), indices[token].tolist()
        family = set(forced[token].nonzero().flatten().tolist())
        assert len(set(after)) == k
        if not family or family & set(before):
            assert after == before
        else:
            assert family & set(after) == {after[-1]} and after[:-1] == before[:-1]
            assert logits[token, after[-1]] == max(logits[token, each] for each in family)
    assert weights.isfinite().all() and (weights >= 0).all()
    if normalise:
        torch.testing.assert_close(weights.sum(1), torch.ones(len(logits)))
    else:
        assert torch.equal(weights, probabilities.gather(1, indices))


@given(routings())
def test_scaled_weights_are_the_chosen_probabilities_share(
    case: tuple[torch.Tensor, int, bool, torch.Tensor],
) -> None:
    logits, k, _, forced = case
    indices, weights, probabilities = route(logits.double(), k, normalise=True, forced=forced)
    chosen = probabilities.gather(1, indices)
    whole = chosen.sum(1, keepdim=True)
    sound = whole.squeeze(1) > 1e-200
    torch.testing.assert_close(weights[sound], (chosen / whole)[sound])


@given(routings())
def test_the_most_probable_come_first_and_of_equal_ones_the_lower(
    case: tuple[torch.Tensor, int, bool, torch.Tensor],
) -> None:
    logits, k, normalise, _ = case
    indices, _, _ = route(logits, k, normalise=normalise)
    for row, chosen in zip(logits.tolist(), indices.tolist(), strict=True):
        assert chosen == sorted(range(len(row)), key=lambda expert: (-row[expert], expert))[:k]


def test_a_forced_expert_of_no_probability_has_weight_one_alone() -> None:
    logits = torch.tensor([[500.0, 0.0, 0.0]], requires_grad=True)
    forced = torch.tensor([[False, False, True]])
    indices, weights, probabilities = route(logits, 1, normalise=True, forced=forced)
    assert indices.tolist() == [[2]] and weights.tolist() == [[1.0]] and probabilities.tolist()[0][2] == 0.0
    weights.sum().backward()
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_half_precision_is_routed_in_fp32() -> None:
    indices, weights, probabilities = route(torch.randn(4, 3).bfloat16(), 2, normalise=True)
    assert weights.dtype == probabilities.dtype == torch.float32 and indices.dtype == torch.int64


def test_supervision_is_the_improbability_of_the_family() -> None:
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    families = torch.tensor([[False, True, True], [False, True, False], [False, False, False]])
    wanted = -(math.log(0.5) + math.log(0.3)) / 2
    assert float(supervision_loss(probabilities, families)) == pytest.approx(wanted)
    valid = torch.tensor([True, False, True])
    assert float(supervision_loss(probabilities, families, valid)) == pytest.approx(-math.log(0.5))
    nothing = torch.zeros(3, dtype=torch.bool)
    assert float(supervision_loss(probabilities, families, nothing)) == 0.0
    assert float(supervision_loss(probabilities[2:], torch.ones(1, 3, dtype=torch.bool))) == 0.0
    hopeless = supervision_loss(probabilities[2:], torch.tensor([[False, True, False]]))
    assert hopeless.isfinite() and float(hopeless) > 80


def test_supervision_pulls_towards_the_family() -> None:
    logits = torch.zeros(1, 4, requires_grad=True)
    families = torch.tensor([[False, True, True, False]])
    loss = supervision_loss(logits.softmax(-1), families)
    assert float(loss.detach()) == pytest.approx(math.log(2))
    loss.backward()
    assert logits.grad is not None and logits.grad[0].tolist() == pytest.approx([0.25, -0.25, -0.25, 0.25])


def test_balancing_is_one_where_all_are_used_alike() -> None:
    even = torch.full((4, 2), 0.5)
    assert float(balancing_loss(even, torch.tensor([[0], [1], [0], [1]]))) == pytest.approx(1.0)
    assert float(balancing_loss(even, torch.tensor([[0, 1]] * 4))) == pytest.approx(1.0)
    one = torch.tensor([[1.0, 0.0]] * 4)
    assert float(balancing_loss(one, torch.zeros(4, 1, dtype=torch.int64))) == pytest.approx(2.0)
    # by hand: shares (3/4, 1/4), mean probabilities (0.7, 0.3)
    probabilities = torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.8, 0.2], [0.6, 0.4]])
    chosen = torch.tensor([[0], [1], [0], [0]])
    assert float(balancing_loss(probabilities, chosen)) == pytest.approx(2 * (0.75 * 0.7 + 0.25 * 0.3))
    valid = torch.tensor([True, True, False, False])
    assert float(balancing_loss(probabilities, chosen, valid)) == pytest.approx(2 * (0.5 * 0.7 + 0.5 * 0.3))
    assert float(balancing_loss(probabilities, chosen, torch.zeros(4, dtype=torch.bool))) == 0.0
