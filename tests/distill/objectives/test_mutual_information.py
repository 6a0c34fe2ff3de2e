from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polycompress.distill.objectives.mutual_information import (
    MutualInformation,
    mutual_information,
    scaled_products,
)
from polycompress.distill.outputs import Given, Outputs
from polycompress.errors import InputError
from tests.distill.objectives.batches import check_all

sizes, seeds = st.integers(2, 9), st.integers(0, 10**6)


def scores_of(count: int, seed: int, scale: float = 2.0) -> Tensor:
    return scale * torch.randn(
        count, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


@given(sizes, seeds)
def test_at_one_it_is_infonce_plus_log_k_and_no_more_than_log_k(count: int, seed: int) -> None:
    scores = scores_of(count, seed, 20.0)
    found = mutual_information(scores, torch.full((count,), 7.0, dtype=torch.float64), 1.0)
    # For each y the right x among all: columns are what the softmax runs over.
    infonce = -torch.nn.functional.cross_entropy(scores.T, torch.arange(count))
    torch.testing.assert_close(found, infonce + math.log(count), rtol=1e-12, atol=1e-12)
    assert found <= math.log(count) + 1e-12


@given(sizes, seeds)
def test_near_zero_it_is_the_unnormalised_bound(count: int, seed: int) -> None:
    scores = scores_of(count, seed)
    baseline = scores_of(count, seed + 1)[0]
    joint = independent = 0.0
    for j in range(count):
        joint += (scores[j, j] - baseline[j]).item() / count
        for i in range(count):
            if i != j:
                independent += math.exp(scores[i, j] - baseline[j]) / (count * (count - 1))
    wanted = 1.0 + joint - independent
    assert mutual_information(scores, baseline, 0.0).item() == pytest.approx(wanted, rel=1e-10)
    assert mutual_information(scores, baseline, 1e-9).item() == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def test_a_baseline_of_e_makes_it_the_bound_of_nguyen_wainwright_and_jordan() -> None:
    scores = scores_of(6, 3)
    others = ~torch.eye(6, dtype=torch.bool)
    nwj = scores.diagonal().mean() - (scores[others] - 1.0).exp().mean()
    found = mutual_information(scores, torch.ones(6, dtype=torch.float64), 0.0)
    torch.testing.assert_close(found, nwj)


def test_in_between_it_is_what_the_definition_says() -> None:
    scores, baseline, alpha = scores_of(5, 1), scores_of(5, 2)[0], 0.3
    total = 0.0
    for j in range(5):
        others = [i for i in range(5) if i != j]
        mean = sum(math.exp(scores[i, j]) for i in range(5)) / 5
        mean_of_others = sum(math.exp(scores[i, j]) for i in others) / 4
        total += scores[j, j].item() - math.log(alpha * mean + (1 - alpha) * math.exp(baseline[j]))
        lower = alpha * mean_of_others + (1 - alpha) * math.exp(baseline[j])
        total -= sum(math.exp(scores[i, j]) / lower for i in others) / 4
    assert mutual_information(scores, baseline, alpha).item() == pytest.approx(1 + total / 5)


@given(sizes, seeds, st.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_of_all_pairings_the_identical_one_is_best(count: int, seed: int, alpha: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.nn.functional.normalize(torch.randn(count, 6, generator=generator, dtype=torch.float64))
    baseline = torch.zeros(count, dtype=torch.float64)
    best = mutual_information(scaled_products(features, features), baseline, alpha)
    order = torch.randperm(count, generator=generator)
    other = mutual_information(scaled_products(features[order], features), baseline, alpha)
    assert other <= best + 1e-12
    if order.tolist() != list(range(count)):
        assert other < best


def test_clear_matches_reach_log_k() -> None:
    found = mutual_information(200.0 * torch.eye(8, dtype=torch.float64), torch.zeros(8), 1.0)
    assert found.item() == pytest.approx(math.log(8), rel=1e-6)


def test_scores_beyond_exps_range_are_finite() -> None:
    scores = 1000.0 * torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    for alpha in (0.1, 1.0):
        assert torch.isfinite(mutual_information(scores, torch.zeros(6), alpha))


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 1.0])
def test_gradients_are_those_of_finite_differences(alpha: float) -> None:
    scores = scores_of(4, 5, 1.0).requires_grad_()
    baseline = scores_of(4, 6, 1.0)[0].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda *values: mutual_information(*values, alpha), (scores, baseline))


def test_one_sample_has_nothing_to_be_told_from() -> None:
    scores = torch.ones(1, 1, requires_grad=True)
    found = mutual_information(scores, torch.zeros(1), 0.5)
    found.backward()
    assert found.item() == 0.0
    assert scores.grad is not None


def batch(padding: int = 0, seed: int = 0) -> tuple[Outputs, Outputs, Given]:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.tensor([[True] * 4, [True, True, True, False], [True, True, False, False]])
    student, teacher = (torch.randn(3, 4, width, generator=generator) for width in (6, 8))
    if padding:
        mask = torch.cat([mask, torch.zeros(3, padding, dtype=torch.bool)], dim=1)
        student, teacher = (
            torch.cat([states, torch.full((3, padding, states.shape[2]), torch.inf)], dim=1)
            for states in (student, teacher)
        )
    return (
        Outputs(hidden={1: student.requires_grad_()}),
        Outputs(hidden={2: teacher.requires_grad_()}),
        Given(mask=mask),
    )


@pytest.mark.parametrize("features", ["texts", "tokens"])
def test_padding_changes_nothing_and_the_teacher_gets_no_gradient(features: str) -> None:
    objective = MutualInformation([(1, 2)], 6, 8, width=4, features=features, max_samples=7)  # type: ignore[arg-type]
    student, teacher, told = batch()
    loss = objective(student, teacher, told)
    loss.backward()
    torch.testing.assert_close(objective(*batch(padding=3)), loss)
    assert teacher.hidden[2].grad is None
    grad = student.hidden[1].grad
    assert grad is not None
    assert grad.abs().sum() > 0
    assert not grad[~told.mask].any()
    assert all(parameter.grad is not None for parameter in objective.parameters())


def test_a_text_without_tokens_is_no_sample() -> None:
    objective = MutualInformation([(1, 2)], 6, 8, width=4)
    student, teacher, told = batch()
    empty = [torch.cat([said, torch.ones_like(said[:1])]) for said in (student.hidden[1], teacher.hidden[2])]
    longer = Given(mask=torch.nn.functional.pad(told.mask, (0, 0, 0, 1)))
    found = objective(Outputs(hidden={1: empty[0]}), Outputs(hidden={2: empty[1]}), longer)
    torch.testing.assert_close(found, objective(student, teacher, told))


@pytest.mark.parametrize("features", ["texts", "tokens"])
@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_it_keeps_to_what_every_objective_does(features: str, alpha: float) -> None:
    check_all(MutualInformation([(1, 2), (3, 0)], 6, 6, width=4, alpha=alpha, features=features))  # type: ignore[arg-type]


def test_training_the_projections_alone_finds_the_shared_information() -> None:
    objective = MutualInformation([(0, 0)], 6, 6, width=6, alpha=0.9)
    generator = torch.Generator().manual_seed(4)
    states = torch.randn(16, 1, 6, generator=generator)
    told = Given(mask=torch.ones(16, 1, dtype=torch.bool))
    optimiser = torch.optim.Adam(objective.parameters(), lr=0.05)
    outputs = Outputs(hidden={0: states})
    first = objective(outputs, outputs, told).item()
    for _ in range(60):
        optimiser.zero_grad()
        objective(outputs, outputs, told).backward()
        optimiser.step()
    last = objective(outputs, outputs, told).item()
    assert last < first - 1.0
    assert last < -1.5  # most of log 16 = 2.77


def test_a_baseline_that_is_not_read_is_not_trained() -> None:
    assert not MutualInformation([(0, 0)], 2, 2, alpha=1.0).baseline.requires_grad
    assert not MutualInformation([(0, 0)], 2, 2, learn_baseline=False).baseline.requires_grad
    assert MutualInformation([(0, 0)], 2, 2).baseline.requires_grad


def test_the_seed_makes_the_projections() -> None:
    first, again, other = (MutualInformation([(0, 0)], 5, 5, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["of_student.0"], other["of_student.0"])


def test_all_faults_at_once() -> None:
    with pytest.raises(
        InputError, match=r"no pair of layers.*alpha=0.0.*features='x' are unknown.*max_samples=1"
    ):
        MutualInformation([], 2, 2, alpha=0.0, features="x", max_samples=1)  # type: ignore[arg-type]
