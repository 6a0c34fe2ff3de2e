from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from polycompress.distill.objectives.divergences import kl
from polycompress.distill.objectives.dkd import DKD, decoupled, dkd_loss
from polycompress.distill.outputs import Given, Outputs
from polycompress.errors import InputError
from tests.distill.objectives.batches import check_all, draw, loss_with_itself, make
from tests.distill.objectives.test_divergences import kl_of, softmax

OUT = -torch.inf


@given(
    st.integers(2, 6),
    st.integers(0, 999),
    st.floats(0.5, 4.0),
    st.floats(0.0, 3.0),
    st.floats(0.0, 9.0),
    st.data(),
)
def test_the_loss_is_that_of_the_formula(
    classes: int, seed: int, temperature: float, alpha: float, beta: float, data: st.DataObject
) -> None:
    student, teacher = draw(4, classes, seed=seed, scale=2.0), draw(4, classes, seed=seed + 1000, scale=2.0)
    labels = [data.draw(st.integers(-1, classes - 1)) for _ in range(4)]
    valid = torch.tensor([True, True, False, True])
    wanted = []
    for position, label in enumerate(labels):
        if label < 0 or not valid[position]:
            continue
        p, q = (softmax(logits[position].numpy() / temperature) for logits in (teacher, student))
        target = kl_of(*(np.array([each[label], 1 - each[label]]) for each in (p, q)))
        others = kl_of(*(np.delete(each, label) / np.delete(each, label).sum() for each in (p, q)))
        wanted.append(temperature**2 * (alpha * target + beta * others))
    told = torch.tensor([label if label >= 0 else -100 for label in labels])
    found = DKD(alpha, beta, temperature)(
        Outputs(logits=student), Outputs(logits=teacher), Given(mask=valid[:, None], valid=valid, labels=told)
    )
    assert found.item() == pytest.approx(np.mean(wanted) if wanted else 0.0, rel=1e-7, abs=1e-10)


def test_by_hand() -> None:
    student, teacher = torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([[0.25, 0.25, 0.5]]).log()
    target, others = decoupled(student, teacher, torch.tensor([0]))
    assert target.item() == pytest.approx(0.25 * np.log(0.5) + 0.75 * np.log(1.5))
    assert others.item() == pytest.approx(1 / 3 * np.log(2 / 3) + 2 / 3 * np.log(4 / 3))


@given(st.integers(2, 6), st.integers(0, 999))
def test_with_the_teachers_doubt_as_weight_it_is_plain_distillation(classes: int, seed: int) -> None:
    student, teacher = draw(5, classes, seed=seed), draw(5, classes, seed=seed + 1000)
    labels = torch.arange(5) % classes
    target, others = decoupled(student, teacher, labels)
    doubt = 1.0 - torch.softmax(teacher, 1).gather(1, labels[:, None]).squeeze(1)
    whole = kl(torch.log_softmax(teacher, 1), torch.log_softmax(student, 1))
    torch.testing.assert_close(target + doubt * others, whole)


@pytest.mark.parametrize("scores", ["text", "tokens", "ends"])
def test_what_every_objective_keeps_to(scores: Any) -> None:
    check_all(DKD(), scores)
    check_all(DKD(0.5, 2.0, temperature=2.0), scores)
    assert loss_with_itself(DKD(), scores) == 0.0


def test_gradients_are_those_of_the_formula() -> None:
    teacher, student = draw(4, 5, seed=2), draw(4, 5, seed=1).requires_grad_()
    labels = torch.tensor([0, -100, 4, 2])
    assert torch.autograd.gradcheck(
        lambda x: dkd_loss(x, teacher, labels, beta=3.0, temperature=1.7), (student,)
    )


def test_the_teacher_gets_no_gradient() -> None:
    teacher = draw(4, 5, seed=2).requires_grad_()
    dkd_loss(draw(4, 5, seed=1).requires_grad_(), teacher, torch.tensor([0, -100, 4, 2])).backward()
    assert teacher.grad is None


def test_a_teacher_that_is_certain_gives_no_infinity() -> None:
    student = torch.tensor([[200.0, 0.0, 0.0], [0.0, 200.0, 1.0]]).requires_grad_()
    teacher = torch.tensor([[300.0, 1.0, 0.0], [300.0, 0.0, 1.0]])
    loss = dkd_loss(student, teacher, torch.tensor([0, 0]))
    loss.backward()
    assert loss.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    # The other classes still tell something where the target takes all.
    others = decoupled(student.detach(), teacher, torch.tensor([0, 0]))[1]
    assert others[0].item() == pytest.approx(kl_of(softmax(np.array([1.0, 0.0])), softmax(np.zeros(2))))


@pytest.mark.parametrize(
    ("student", "teacher", "target"),
    [
        ([0.0, OUT, OUT], [1.0, OUT, OUT], 0.0),
        ([0.0, 0.0, OUT], [1.0, OUT, OUT], np.log(2)),
        ([0.0, 1.0, OUT], [0.0, 1.0, OUT], 0.0),
        ([OUT, 0.0, 0.0], [OUT, 0.0, 0.0], 0.0),
    ],
)
def test_excluded_classes(student: list[float], teacher: list[float], target: float) -> None:
    own, labels = torch.tensor([student], requires_grad=True), torch.tensor([0])
    found = decoupled(own, torch.tensor([teacher]), labels)
    assert found[0].item() == pytest.approx(target)
    assert found[1].item() == 0.0
    (found[0] + found[1]).sum().backward()
    assert own.grad is not None
    assert own.grad.isfinite().all()


def test_classes_that_both_exclude_change_nothing() -> None:
    student, teacher, labels = draw(3, 4, seed=1), draw(3, 4, seed=2), torch.tensor([0, 3, 1])
    wider = [functional.pad(logits, (0, 2), value=OUT) for logits in (student, teacher)]
    torch.testing.assert_close(dkd_loss(*wider, labels), dkd_loss(student, teacher, labels))


def test_two_classes_have_nothing_but_the_target() -> None:
    target, others = decoupled(draw(3, 2, seed=1), draw(3, 2, seed=2), torch.tensor([0, 1, 0]))
    assert (target > 0).all()
    assert not others.any()


def test_labels_that_are_missing_or_outside() -> None:
    example = make()
    with pytest.raises(InputError, match=r"dkd: there are no labels; train on a task's examples"):
        DKD()(example.student, example.teacher, Given(mask=example.given.mask))
    for label in (5, -1):
        with pytest.raises(
            InputError, match=rf"dkd: the label {label} is none of the 5 classes; labels are 0 to 4, or"
        ):
            dkd_loss(draw(2, 5), draw(2, 5), torch.tensor([0, label]))


def test_wrong_values_are_all_named() -> None:
    message = "dkd: temperature=nan has to be above 0; alpha=-1 has to be at least 0; beta=inf has to be at least 0."
    with pytest.raises(InputError, match=re.escape(message)):
        DKD(-1, float("inf"), float("nan"))
