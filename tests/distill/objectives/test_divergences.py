from __future__ import annotations

import re
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from polycompress.distill.objectives.divergences import (
    Divergence,
    Kind,
    cross_entropy,
    divergence,
    divergence_loss,
    head_share,
    kl,
)
from polycompress.distill.outputs import Given, Outputs
from polycompress.errors import InputError
from polycompress.kernels.linear_distillation import linear_distillation_reference
from tests.distill.objectives.batches import check_all, check_padding, draw, loss_with_itself, make

KINDS: tuple[Kind, ...] = get_args(Kind)
FINITE = tuple(kind for kind in KINDS if kind not in ("forward", "cross-entropy", "reverse", "adaptive"))
"""Those that are finite even where one alone excludes a class."""
Array = NDArray[np.float64]


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def kl_of(a: Array, b: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(a > 0, a * np.log(a / b), 0.0).sum(-1))


def adaptive_of(p: Array, q: Array, head_mass: float) -> float:
    """Of one position."""
    head, mass = [], 0.0
    for place in np.argsort(-p, kind="stable"):
        if mass >= head_mass:
            break
        head.append(place)
        mass += p[place]
    gaps = np.abs(p - q)
    share = gaps[head].sum() / gaps.sum()
    return float(share * kl_of(p, q) + (1 - share) * kl_of(q, p))


def oracle(kind: Kind, p: Array, q: Array, *, beta: float, skew: float, head_mass: float) -> Array:
    m = beta * p + (1 - beta) * q
    with np.errstate(divide="ignore", invalid="ignore"):
        found: dict[Kind, Array] = {
            "forward": kl_of(p, q),
            "cross-entropy": -np.where(p > 0, p * np.log(q), 0.0).sum(-1),
            "reverse": kl_of(q, p),
            "jensen-shannon": beta * kl_of(p, m) + (1 - beta) * kl_of(q, m),
            "skew-forward": kl_of(p, skew * p + (1 - skew) * q),
            "skew-reverse": kl_of(q, skew * q + (1 - skew) * p),
            "total-variation": np.abs(p - q).sum(-1) / 2,
            "adaptive": np.array([adaptive_of(*each, head_mass) for each in zip(p, q, strict=True)]),
        }
    return found[kind]


@pytest.mark.parametrize("kind", KINDS)
@given(
    st.integers(2, 6), st.integers(0, 999), st.floats(0.5, 4.0), st.booleans(),
    st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(0.1, 1.0), st.booleans(),
)  # fmt: skip
def test_each_is_its_formula(
    kind: Kind, classes: int, seed: int, temperature: float, scaled: bool,
    beta: float, skew: float, head_mass: float, excluded: bool,
) -> None:  # fmt: skip
    student, teacher = draw(4, classes, seed=seed, scale=2.0), draw(4, classes, seed=seed + 1000, scale=2.0)
    if excluded:
        student[:, 0] = teacher[:, 0] = -torch.inf
    valid = torch.tensor([True, False, True, True])
    settings = {"beta": beta, "skew": skew, "head_mass": head_mass}
    p, q = (softmax(logits[valid].numpy() / temperature) for logits in (teacher, student))
    if excluded and classes == 2:
        return  # p = q: nothing to divide by in the naive formula
    wanted = oracle(kind, p, q, **settings).mean() * (temperature**2 if scaled else 1.0)
    objective = Divergence(kind, temperature, scaled, **settings)
    found = objective(
        Outputs(logits=student), Outputs(logits=teacher), Given(mask=valid[:, None], valid=valid)
    )
    assert found.item() == pytest.approx(wanted, rel=1e-7, abs=1e-10)


@pytest.mark.parametrize("kind", ["forward", "reverse", "jensen-shannon"])
def test_values_and_gradients_are_those_of_the_kernel(kind: Any) -> None:
    student, teacher = draw(6, 9, seed=1, scale=3.0), draw(6, 9, seed=2, scale=3.0)
    student[:, 4] = teacher[:, 4] = -torch.inf
    bias, table = torch.zeros(9, dtype=torch.float64), torch.eye(9, dtype=torch.float64)
    bias[4] = -torch.inf
    finite = [logits.nan_to_num(neginf=0.0) for logits in (student, teacher)]
    leaves = [student.requires_grad_(), finite[0].detach().requires_grad_()]
    own = divergence_loss(leaves[0], teacher, kind=kind, temperature=2.0, beta=0.3)
    other = linear_distillation_reference(
        leaves[1], table, finite[1], table, divergence=kind, temperature=2.0, beta=0.3,
        student_bias=bias, teacher_bias=bias,
    )  # fmt: skip
    torch.testing.assert_close(own, other)
    grads = [torch.autograd.grad(loss, leaf)[0] for loss, leaf in zip((own, other), leaves, strict=True)]
    torch.testing.assert_close(*grads)


def test_by_hand() -> None:
    p, q = torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([[0.25, 0.25, 0.5]]).log()
    settled = {
        "forward": 0.25 * np.log(2),
        "reverse": 0.25 * np.log(2),
        "cross-entropy": 1.25 * np.log(2) + 0.5 * np.log(2),
        "total-variation": 0.25,
        "jensen-shannon": 0.5 * np.log(4 / 3) + 0.25 * np.log(2 / 3),
        # The head is the first class, by which half of the gap is.
        "adaptive": 0.25 * np.log(2),
    }
    for kind, wanted in settled.items():
        assert divergence(q, p, kind).item() == pytest.approx(wanted), kind  # type: ignore[arg-type]
    uneven = torch.tensor([[0.25, 0.5, 0.25]]).log()
    assert head_share(uneven, torch.tensor([[0.4, 0.35, 0.25]]).log(), 0.5).item() == pytest.approx(1.0)
    assert head_share(uneven, torch.tensor([[0.4, 0.35, 0.25]]).log(), 0.4).item() == pytest.approx(0.5)
    assert head_share(p, p).item() == 0.5


def test_the_head_is_the_fewest_classes_that_reach_the_mass() -> None:
    p = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)
    q = torch.tensor([[0.4, 0.2, 0.4]], dtype=torch.float64)
    for head_mass, share in ((0.1, 0.25), (0.5, 0.25), (0.51, 0.5), (1.0, 1.0)):
        assert head_share(q.log(), p.log(), head_mass).item() == pytest.approx(share)


@pytest.mark.parametrize("kind", KINDS)
def test_the_teacher_gets_no_gradient(kind: Kind) -> None:
    teacher = draw(4, 5, seed=2).requires_grad_()
    divergence_loss(draw(4, 5, seed=1).requires_grad_(), teacher, kind=kind).backward()
    assert teacher.grad is None


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "adaptive"])
def test_gradients_are_those_of_the_formulas(kind: Kind) -> None:
    teacher = draw(4, 5, seed=2)
    student = draw(4, 5, seed=1).requires_grad_()
    valid = torch.tensor([True, True, False, True])
    loss = lambda x: divergence_loss(x, teacher, valid, kind=kind, temperature=1.7)  # noqa: E731
    assert torch.autograd.gradcheck(loss, (student,))


def test_the_adaptive_weight_has_no_gradient() -> None:
    teacher, student = draw(4, 5, seed=2), draw(4, 5, seed=1).requires_grad_()
    log_q, log_p = torch.log_softmax(student, 1), torch.log_softmax(teacher, 1)
    share = head_share(log_q, log_p)
    assert not share.requires_grad
    parts = [
        torch.autograd.grad((weight * each).sum(), student, retain_graph=True)[0]
        for weight, each in ((share, kl(log_p, log_q)), (1 - share, kl(log_q, log_p)))
    ]
    whole = torch.autograd.grad(divergence(log_q, log_p, "adaptive").sum(), student)[0]
    torch.testing.assert_close(whole, parts[0] + parts[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scores", ["text", "tokens", "ends"])
def test_what_every_objective_keeps_to(kind: Kind, scores: Any) -> None:
    check_all(Divergence(kind), scores)
    check_padding(Divergence(kind, 2.0, False), scores)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scores", ["tokens", "ends"])
def test_a_student_that_is_its_teacher(kind: Kind, scores: Any) -> None:
    loss = loss_with_itself(Divergence(kind), scores)
    if kind != "cross-entropy":
        assert loss == pytest.approx(0.0, abs=1e-6)
        return
    example = make(scores)
    logits = example.teacher.logits
    assert logits is not None
    counting = (
        torch.ones(logits.shape[:-1], dtype=torch.bool)
        if example.given.valid is None
        else example.given.valid
    )
    p = softmax(logits[counting].detach().numpy())
    assert loss == pytest.approx(kl_of(p, np.ones_like(p)).mean() * -1.0, abs=1e-6)


def test_a_student_that_is_its_teacher_learns_nothing() -> None:
    for kind in KINDS:
        student = draw(4, 5, seed=1).requires_grad_()
        divergence_loss(student, student, kind=kind).backward()
        torch.testing.assert_close(student.grad, torch.zeros_like(student), rtol=0, atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
@given(st.integers(0, 999))
def test_none_is_below_zero_and_all_are_ordered(kind: Kind, seed: int) -> None:
    log_q, log_p = (torch.log_softmax(draw(8, 6, seed=seed + n, scale=3.0), 1) for n in (0, 1000))
    found = divergence(log_q, log_p, kind)
    assert (found > 0).all()
    if kind == "cross-entropy":
        torch.testing.assert_close(found, kl(log_p, log_q) + cross_entropy(log_p, log_p))
    if kind == "total-variation":
        assert (found <= 1).all()
        assert (2 * found.square() <= kl(log_p, log_q)).all()  # Pinsker
    if kind == "jensen-shannon":
        assert (found <= np.log(2)).all()
        torch.testing.assert_close(found, divergence(log_p, log_q, kind))
    if kind.startswith("skew"):
        assert (found <= -np.log(0.1)).all()


def test_the_limits_of_jensen_shannon_are_the_two_divergences() -> None:
    log_q, log_p = (torch.log_softmax(draw(8, 6, seed=seed), 1) for seed in (0, 1))
    low, high = (divergence(log_q, log_p, "jensen-shannon", beta=beta) for beta in (1e-6, 1 - 1e-6))
    torch.testing.assert_close(low / 1e-6, kl(log_p, log_q), rtol=1e-4, atol=0)
    torch.testing.assert_close(high / 1e-6, kl(log_q, log_p), rtol=1e-4, atol=0)


def test_the_square_of_the_temperature_keeps_gradients_in_size() -> None:
    student, teacher = draw(4, 5, seed=1, scale=0.1).requires_grad_(), draw(4, 5, seed=2, scale=0.1)
    sizes = []
    for temperature in (5.0, 50.0):
        loss = divergence_loss(student, teacher, temperature=temperature)
        sizes.append(torch.autograd.grad(loss, student)[0].norm().item())
        plain = divergence_loss(student, teacher, temperature=temperature, scale_by_temperature=False)
        assert loss.item() == pytest.approx(temperature**2 * plain.item())
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_classes_that_both_exclude_change_nothing(kind: Kind) -> None:
    student, teacher = draw(3, 4, seed=1), draw(3, 4, seed=2)
    wider = [
        torch.cat([logits, torch.full((3, 2), -torch.inf)], 1).requires_grad_()
        for logits in (student, teacher)
    ]
    found = divergence_loss(*wider, kind=kind)
    torch.testing.assert_close(found, divergence_loss(student, teacher, kind=kind))
    found.backward()
    grad = wider[0].grad
    assert grad is not None
    assert torch.isfinite(grad).all()
    assert not grad[:, 4:].any()
    assert wider[1].grad is None


def test_classes_that_one_excludes() -> None:
    out = -torch.inf
    student, teacher = torch.tensor([[0.0, 1.0, out]]), torch.tensor([[out, 1.0, 0.5]])
    for kind in KINDS:
        own = student.clone().requires_grad_()
        loss = divergence_loss(own, teacher, kind=kind)
        assert not loss.isnan(), kind
        if kind in FINITE:
            loss.backward()
            assert loss.isfinite(), kind
            assert own.grad is not None
            assert own.grad.isfinite().all(), kind
    # A class that the teacher alone excludes is none of the forward divergence's business.
    assert divergence_loss(torch.tensor([[0.0, 1.0]]), torch.tensor([[out, 1.0]])).item() == pytest.approx(
        np.log(1 + np.exp(-1))
    )
    assert divergence_loss(torch.tensor([[out, 1.0]]), torch.tensor([[0.0, 1.0]])).item() == np.inf


def test_probabilities_too_small_to_be_told_from_zero() -> None:
    student = torch.tensor([[0.0, -300.0, -torch.inf]]).requires_grad_()
    teacher = torch.tensor([[0.0, -torch.inf, -300.0]])
    for kind in KINDS:
        loss = divergence_loss(student, teacher, kind=kind)
        assert loss.item() == pytest.approx(0.0, abs=1e-6), kind
        assert torch.autograd.grad(loss, student)[0].isfinite().all(), kind


def test_positions_without_any_class_do_not_count() -> None:
    student = torch.full((2, 3), -torch.inf)
    student[0] = torch.tensor([1.0, 2.0, 3.0])
    student.requires_grad_()
    teacher = student.detach().roll(1, dims=1)
    loss = divergence_loss(student, teacher)
    torch.testing.assert_close(loss, divergence_loss(student[:1], teacher[:1]))
    assert torch.autograd.grad(loss, student)[0].isfinite().all()


def test_a_broken_student_is_seen() -> None:
    broken = torch.tensor([[0.0, torch.nan], [torch.nan, torch.nan]])
    for kind in KINDS:
        for number in (0, 1):
            assert divergence_loss(broken[number:][:1], torch.zeros(1, 2), kind=kind).isnan(), kind


def test_wrong_values_are_all_named() -> None:
    message = (
        "divergence: temperature=0 has to be above 0; kind='backward' is unknown; use one of forward, cross-entropy, "
        "reverse, jensen-shannon, skew-forward, skew-reverse, total-variation, adaptive; beta=1.0 has to lie between 0 "
        "and 1, neither included; skew=-1 has to lie between 0 and 1, neither included; head_mass=0.0 has to lie above "
        "0 and be at most 1."
    )
    with pytest.raises(InputError, match=re.escape(message)):
        Divergence("backward", 0, beta=1.0, skew=-1, head_mass=0.0)  # type: ignore[arg-type]


def test_other_classes_are_refused() -> None:
    said: list[Tensor] = [torch.zeros(2, 3), torch.zeros(2, 4)]
    with pytest.raises(InputError, match="both have to score the same classes"):
        Divergence()(
            *(Outputs(logits=logits) for logits in said), Given(mask=torch.ones(2, 1, dtype=torch.bool))
        )
