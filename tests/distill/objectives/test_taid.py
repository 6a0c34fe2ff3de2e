from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polycompress.distill.objectives.divergences import divergence_loss
from polycompress.distill.objectives.taid import (
    TAID,
    TAIDSchedule,
    TAIDState,
    advance,
    interpolated,
    taid_loss,
)
from polycompress.errors import InputError
from tests.distill.objectives.batches import check_all, draw, loss_with_itself, make
from tests.distill.objectives.test_divergences import softmax

LOSSES = st.lists(st.one_of(st.floats(0.0, 1e6), st.sampled_from([math.nan, math.inf, 0.0])), max_size=30)
SCHEDULES = st.builds(
    lambda steps, low, high, alpha, beta: TAIDSchedule(
        steps=steps, t_start=min(low, high), t_end=max(low, high), alpha=alpha, beta=beta
    ),
    st.integers(1, 40), st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.5), st.floats(0, 0.999),
)  # fmt: skip


@given(st.integers(2, 6), st.integers(0, 999), st.floats(0.0, 1.0))
def test_the_loss_is_that_of_the_formula(classes: int, seed: int, t: float) -> None:
    student, teacher = draw(4, classes, seed=seed, scale=2.0), draw(4, classes, seed=seed + 1000, scale=2.0)
    valid = torch.tensor([True, False, True, True])
    own, other = student[valid].numpy(), teacher[valid].numpy()
    target = softmax((1 - t) * own + t * other)
    wanted = -(target * np.log(softmax(own))).sum(1).mean()
    assert taid_loss(student, teacher, valid, t=t).item() == pytest.approx(wanted, rel=1e-9)


@given(st.integers(0, 999))
def test_at_one_it_is_the_cross_entropy_with_the_teacher(seed: int) -> None:
    student, teacher = draw(4, 5, seed=seed).requires_grad_(), draw(4, 5, seed=seed + 1000)
    losses = taid_loss(student, teacher, t=1.0), divergence_loss(student, teacher, kind="cross-entropy")
    torch.testing.assert_close(*losses, rtol=0, atol=0)
    grads = [torch.autograd.grad(loss, student)[0] for loss in losses]
    torch.testing.assert_close(*grads, rtol=0, atol=0)


def test_at_zero_there_is_nothing_to_learn() -> None:
    student, teacher = draw(4, 5, seed=1).requires_grad_(), draw(4, 5, seed=2)
    grad = torch.autograd.grad(taid_loss(student, teacher, t=0.0), student)[0]
    torch.testing.assert_close(grad, torch.zeros_like(grad), rtol=0, atol=1e-15)
    assert torch.autograd.grad(taid_loss(student, teacher, t=0.01), student)[0].abs().max() > 1e-4


def test_the_target_has_no_gradient() -> None:
    student, teacher = draw(4, 5, seed=1).requires_grad_(), draw(4, 5, seed=2)
    grad = torch.autograd.grad(taid_loss(student, teacher, t=0.3), student)[0]
    target = torch.softmax(0.7 * student.detach() + 0.3 * teacher, 1)
    torch.testing.assert_close(grad, (torch.softmax(student.detach(), 1) - target) / 4)


def test_the_teacher_gets_no_gradient() -> None:
    teacher = draw(4, 5, seed=2).requires_grad_()
    taid_loss(draw(4, 5, seed=1).requires_grad_(), teacher, t=0.5).backward()
    assert teacher.grad is None


def test_gradients_are_those_of_the_formula_at_a_settled_target() -> None:
    teacher, student = draw(4, 5, seed=2), draw(4, 5, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: taid_loss(x, teacher, t=1.0), (student,))


@pytest.mark.parametrize("t", [0.0, 0.4, 1.0])
def test_classes_that_both_exclude_change_nothing(t: float) -> None:
    student, teacher = draw(3, 4, seed=1), draw(3, 4, seed=2)
    wider = [
        torch.cat([logits, torch.full((3, 2), -torch.inf)], 1).requires_grad_()
        for logits in (student, teacher)
    ]
    loss = taid_loss(*wider, t=t)
    torch.testing.assert_close(loss, taid_loss(student, teacher, t=t))
    grad = torch.autograd.grad(loss, wider[0])[0]
    assert grad.isfinite().all()
    assert not grad[:, 4:].any()


def test_interpolation_is_of_logits() -> None:
    student, teacher = torch.tensor([0.0, -torch.inf, 2.0]), torch.tensor([4.0, -torch.inf, -torch.inf])
    assert interpolated(student, teacher, 0.0).tolist() == student.tolist()
    assert interpolated(student, teacher, 1.0).tolist() == teacher.tolist()
    assert interpolated(student, teacher, 0.25).tolist() == [1.0, -torch.inf, -torch.inf]


@pytest.mark.parametrize("scores", ["text", "tokens", "ends"])
@pytest.mark.parametrize("t_start", [0.2, 1.0])
def test_what_every_objective_keeps_to(scores: Any, t_start: float) -> None:
    objective = TAID(10, t_start)
    check_all(objective, scores)
    example = make(scores)
    teacher = example.teacher.logits
    assert teacher is not None
    assert teacher.detach().isneginf().any() == (scores == "ends")
    entropy = divergence_loss(teacher, teacher, example.given.valid, kind="cross-entropy")
    assert loss_with_itself(objective, scores) == pytest.approx(entropy.item(), abs=1e-6)


def test_steps_by_hand() -> None:
    schedule = TAIDSchedule(steps=1000, t_start=0.2, t_end=1.0, alpha=0.1, beta=0.9)
    first = advance(TAIDState(t=0.2), 4.0, schedule)
    assert first == TAIDState(t=0.2, previous_loss=4.0, momentum=0.0, step=1)
    second = advance(first, 3.0, schedule)
    momentum = 0.1 * 0.25
    t = 0.2 + 0.1 / (1 + math.exp(-momentum)) * 0.8
    assert (second.previous_loss, second.step) == (3.0, 2)
    assert (second.momentum, second.t) == pytest.approx((momentum, t))
    third = advance(second, 6.0, schedule)
    momentum = 0.9 * momentum + 0.1 * -1.0
    assert (third.momentum, third.t) == pytest.approx(
        (momentum, t + 0.1 / (1 + math.exp(-momentum)) * (1 - t))
    )


def test_at_its_end_t_stays() -> None:
    schedule = TAIDSchedule(steps=4, t_start=0.2, t_end=0.8, alpha=5.0, beta=0.0)
    state = TAIDState(t=0.2)
    seen = []
    for loss in (4.0, 3.0, 2.0, 1.0, 0.5, 0.2):
        state = advance(state, loss, schedule)
        seen.append(state.t)
    assert seen == [0.2, 0.8, 0.8, 0.8, 0.8, 0.8]


@given(SCHEDULES, LOSSES)
def test_t_never_goes_down_nor_leaves_its_bounds_nor_falls_below_the_ramp(
    schedule: TAIDSchedule, losses: list[float]
) -> None:
    state = TAIDState(t=schedule.t_start)
    for step, loss in enumerate(losses):
        after = advance(state, loss, schedule)
        assert state.t <= after.t <= schedule.t_end
        ramp = schedule.t_start + (schedule.t_end - schedule.t_start) * min(1.0, step / schedule.steps)
        assert after.t >= min(ramp, schedule.t_end)
        assert after.step == step + 1
        assert math.isfinite(after.momentum)
        state = after


def test_without_adaptation_t_is_the_ramp() -> None:
    objective = TAID(5, 0.25, 0.75, alpha=0.5, adaptive=False)
    seen = []
    for loss in (3.0, 2.0, 1.0, 9.0, 1.0, 1.0, 1.0):
        objective.after_step(loss)
        seen.append(float(objective.t))
    assert seen == pytest.approx([0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.75])


def test_falling_losses_move_t_faster_than_rising_ones() -> None:
    ends = []
    for losses in (np.geomspace(8, 1, 50), np.geomspace(1, 8, 50)):
        objective = TAID(10**6, alpha=5e-3, beta=0.5)
        for loss in losses:
            objective.after_step(float(loss))
        ends.append(float(objective.t))
    assert ends[0] > ends[1] > 0.4


@pytest.mark.parametrize("loss", [math.nan, math.inf, 0.0])
def test_a_loss_that_says_nothing_is_passed_over(loss: float) -> None:
    schedule = TAIDSchedule(steps=10**6)
    state = TAIDState(t=0.5, previous_loss=2.0, momentum=0.1, step=7)
    assert advance(state, loss, schedule) == TAIDState(t=0.5, previous_loss=2.0, momentum=0.1, step=8)
    first = advance(TAIDState(t=0.5), loss, schedule)
    assert math.isnan(first.previous_loss)
    assert (first.t, first.step) == (0.5, 1)


def test_neither_forward_nor_eval_moves_t() -> None:
    objective, example = TAID(10, alpha=0.1), make()
    for loss in (4.0, 3.0):
        objective.after_step(loss)
    before = objective.state
    example.loss(objective).backward()
    assert objective.state == before
    objective.eval()
    objective.after_step(1.0)
    example.loss(objective)
    assert objective.state == before
    objective.train()
    objective.after_step(1.0)
    assert objective.state.t > before.t


def test_the_loss_is_at_the_present_t() -> None:
    objective, example = TAID(10, alpha=0.5), make()
    for loss in (4.0, 1.0):
        objective.after_step(loss)
    logits = example.student.logits, example.teacher.logits
    wanted = taid_loss(*logits, example.given.valid, t=objective.state.t)  # type: ignore[arg-type]
    torch.testing.assert_close(example.loss(objective), wanted)
    assert objective.state.t > 0.5


@given(st.lists(st.floats(0.1, 10.0), min_size=2, max_size=12), st.integers(0, 12))
def test_a_run_that_is_taken_up_again_goes_on_as_it_would_have(losses: list[float], cut: int) -> None:
    whole, first = TAID(20, alpha=0.05), TAID(20, alpha=0.05)
    for loss in losses:
        whole.after_step(loss)
    for loss in losses[:cut]:
        first.after_step(loss)
    saved = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    assert [saved[name].dtype for name in ("t", "previous_loss", "momentum", "step")] == [
        torch.float64
    ] * 3 + [torch.int64]
    second = TAID(20, alpha=0.05)
    second.load_state_dict(saved)
    for loss in losses[cut:]:
        second.after_step(loss)
    assert second.state == whole.state


def test_wrong_values_are_all_named() -> None:
    message = (
        "taid: steps=0 has to be at least 1; t_start=0.9 and t_end=0.5 have to go up, from 0 to 1; alpha=-1 has to be "
        "at least 0; beta=1.0 has to be at least 0 and below 1."
    )
    with pytest.raises(InputError, match=re.escape(message)):
        TAID(0, 0.9, 0.5, -1, 1.0)
