from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polycompress.distill.objectives.hidden import (
    HiddenCosine,
    HiddenMSE,
    HiddenRelative,
    hidden_cosine,
    hidden_mse,
    hidden_relative,
)
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.errors import InputError
from tests.distill.objectives.batches import (
    check_all,
    check_padding,
    draw,
    draw_outputs,
    given_of,
    loss_with_itself,
    make,
    mask_of,
)

PAIRS = ((0, 0), (1, 3))
LENGTHS = st.lists(st.integers(0, 5), min_size=1, max_size=4).filter(any)


def basis(rows: int, columns: int, seed: int = 7) -> Tensor:
    return torch.linalg.qr(draw(rows, rows, seed=seed))[0][:, :columns]


def test_the_squared_error_by_hand() -> None:
    student = torch.tensor([[[1.0, 2.0], [0.0, 0.0], [9.0, 9.0]]])
    teacher = torch.tensor([[[0.0, 4.0], [0.0, 3.0], [0.0, 0.0]]])
    mask = torch.tensor([[True, True, False]])
    assert hidden_mse(student, teacher, mask).item() == pytest.approx((1 + 4 + 0 + 9) / 4)


def test_the_cosine_by_hand() -> None:
    student = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [1.0, 1.0]]])
    teacher = torch.tensor([[[5.0, 0.0], [3.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]])
    mask = torch.tensor([[True, True, True, False]])
    assert hidden_cosine(student, teacher, mask).item() == pytest.approx((0 + 1 + 2) / 3)
    mask = torch.tensor([[False, False, False, True]])
    assert hidden_cosine(student, teacher, mask).item() == pytest.approx(1.0)


@given(LENGTHS, st.integers(1, 4), st.integers(0, 99))
def test_both_are_means_over_real_tokens(lengths: list[int], width: int, seed: int) -> None:
    student = draw(len(lengths), max(lengths), width, seed=seed)
    teacher = draw(len(lengths), max(lengths), width, seed=seed + 100)
    mask = mask_of(lengths)
    own, other = student.numpy()[mask.numpy()], teacher.numpy()[mask.numpy()]
    assert hidden_mse(student, teacher, mask).item() == pytest.approx(((own - other) ** 2).mean())
    cosines = (own * other).sum(1) / np.linalg.norm(own, axis=1) / np.linalg.norm(other, axis=1)
    assert hidden_cosine(student, teacher, mask).item() == pytest.approx((1 - cosines).mean())


@given(LENGTHS.filter(lambda lengths: sum(lengths) > 1), st.integers(1, 4), st.integers(0, 99))
def test_the_relative_error_is_a_share_of_the_variance(lengths: list[int], width: int, seed: int) -> None:
    student = draw(len(lengths), max(lengths), width, seed=seed)
    teacher = draw(len(lengths), max(lengths), width, seed=seed + 100)
    mask = mask_of(lengths)
    other = teacher.numpy()[mask.numpy()]
    spread = max(other.var(axis=0).mean(), 0.01 * (other**2).mean())
    wanted = hidden_mse(student, teacher, mask).item() / spread
    found = hidden_relative(student, teacher, mask)
    assert found.item() == pytest.approx(wanted)
    torch.testing.assert_close(hidden_relative(7 * student, 7 * teacher, mask), found)


def test_the_mean_of_the_teacher_s_states_is_1_away() -> None:
    teacher, mask = draw(3, 4, 3, seed=5), mask_of((4, 2, 1))
    mean = teacher[mask].mean(dim=0).expand_as(teacher)
    assert hidden_relative(mean, teacher, mask).item() == pytest.approx(1.0)


def test_a_single_token_has_no_variance_but_a_finite_loss() -> None:
    student, teacher, mask = draw(1, 1, 3, seed=1), draw(1, 1, 3, seed=2), mask_of((1,))
    found = hidden_relative(student, teacher, mask).item()
    assert found == pytest.approx(100 * ((student - teacher) ** 2).mean().item() / (teacher**2).mean().item())
    assert hidden_relative(student, torch.zeros_like(teacher), mask).isfinite()


def test_gradients_are_those_of_the_formula() -> None:
    teacher, mask = draw(3, 4, 3, seed=5), mask_of((4, 2, 1))
    for function in (hidden_mse, hidden_relative, hidden_cosine):
        student = draw(3, 4, 3, seed=4).requires_grad_()
        assert torch.autograd.gradcheck(lambda x, f=function: f(x, teacher, mask), (student,))


def test_the_teacher_gets_no_gradient() -> None:
    for function in (hidden_mse, hidden_relative, hidden_cosine):
        teacher = draw(3, 4, 3, seed=5).requires_grad_()
        function(draw(3, 4, 3, seed=4).requires_grad_(), teacher, mask_of((4, 2, 1))).backward()
        assert teacher.grad is None


@pytest.mark.parametrize("kind", [HiddenMSE, HiddenRelative, HiddenCosine])
def test_what_every_objective_keeps_to(kind: Any) -> None:
    check_all(kind(PAIRS))
    assert loss_with_itself(kind([(1, 1), (3, 3)])) == pytest.approx(0.0, abs=1e-6)


def test_with_projections_padding_changes_nothing_either() -> None:
    bases = {0: basis(6, 6), 3: basis(6, 6, seed=8)}
    check_padding(HiddenMSE(PAIRS, bases))
    trained = HiddenMSE(PAIRS, "trained", widths=(6, 6)).double()
    check_padding(trained)
    check_padding(HiddenCosine(PAIRS, "trained", widths=(6, 6), shared=True).double())


def test_padding_that_is_no_number_does_not_reach_a_trained_projection() -> None:
    student = Outputs(hidden={0: torch.tensor([[[1.0, 2.0], [torch.nan, torch.inf]]])})
    teacher = Outputs(hidden={0: torch.ones(1, 2, 3)})
    objective = HiddenMSE([(0, 0)], "trained", widths=(2, 3))
    objective(student, teacher, Given(mask=torch.tensor([[True, False]]))).backward()
    assert objective.trained is not None
    assert torch.isfinite(objective.trained[0].grad).all()
    assert objective.trained[0].grad.any()


def test_the_mean_is_over_pairs_and_only_their_states_are_asked_for() -> None:
    example = make()
    objective = HiddenMSE(PAIRS)
    alone = [
        hidden_mse(example.student.hidden[own], example.teacher.hidden[other], example.given.mask)
        for own, other in PAIRS
    ]
    torch.testing.assert_close(example.loss(objective), (alone[0] + alone[1]) / 2)
    assert objective.student_needs == Needs(hidden=frozenset((0, 1)))
    assert objective.teacher_needs == Needs(hidden=frozenset((0, 3)))


def test_fixed_projections_bring_the_teacher_to_the_student() -> None:
    student, teacher = draw_outputs(seed=1, heads=2), draw_outputs(seed=2, heads=4)
    bases = {0: basis(12, 6), 3: basis(12, 6, seed=8), 2: torch.zeros(1)}
    found = HiddenMSE(PAIRS, bases)(student, teacher, given_of())
    mask = given_of().mask.numpy()
    wanted = []
    for own, other in PAIRS:
        target = teacher.hidden[other].detach().numpy() @ bases[other].numpy()
        wanted.append(((student.hidden[own].detach().numpy() - target)[mask] ** 2).mean())
    assert found.item() == pytest.approx(np.mean(wanted))


def test_a_square_projection_is_a_rotation() -> None:
    example, turn = make(), basis(6, 6)
    turned = Outputs(hidden={layer: states @ turn for layer, states in example.student.hidden.items()})
    plain = example.loss(HiddenMSE(PAIRS))
    found = HiddenMSE(PAIRS, {0: turn, 3: turn})(turned, example.teacher, example.given)
    torch.testing.assert_close(found, plain)


def test_fixed_projections_are_kept_but_not_trained() -> None:
    bases = {0: basis(6, 4), 3: basis(6, 4, seed=8)}
    objective = HiddenMSE(PAIRS, bases)
    assert not list(objective.parameters())
    torch.testing.assert_close(dict(objective.state_dict()), {f"basis_{n}": q for n, q in bases.items()})
    bases[0].zero_()
    assert objective.state_dict()["basis_0"].any()


def test_trained_projections_bring_the_student_to_the_teacher_and_learn() -> None:
    student, teacher = draw_outputs(seed=1, heads=2), draw_outputs(seed=2, heads=4)
    objective = HiddenMSE(PAIRS, "trained", widths=(6, 12)).double()
    loss = objective(student, teacher, given_of())
    mask = given_of().mask.numpy()
    assert objective.trained is not None
    wanted = []
    for (own, other), matrix in zip(PAIRS, objective.trained, strict=True):
        state = student.hidden[own].detach().numpy() @ matrix.detach().numpy().T
        wanted.append(((state - teacher.hidden[other].detach().numpy())[mask] ** 2).mean())
    assert loss.item() == pytest.approx(np.mean(wanted))
    optimiser = torch.optim.Adam(objective.parameters(), lr=0.1)
    for _ in range(20):
        optimiser.zero_grad()
        objective(student, teacher, given_of()).backward()
        optimiser.step()
    assert objective(student, teacher, given_of()) < 0.7 * loss


def test_trained_projections_come_from_their_seed_alone() -> None:
    made = [HiddenMSE(PAIRS, "trained", widths=(6, 12), seed=seed).state_dict() for seed in (3, 3, 4)]
    assert [tuple(matrix.shape) for matrix in made[0].values()] == [(12, 6), (12, 6)]
    torch.testing.assert_close(dict(made[0]), dict(made[1]), rtol=0, atol=0)
    assert all((one != other).any() for one, other in zip(made[0].values(), made[2].values(), strict=True))
    one = HiddenMSE(PAIRS, "trained", widths=(6, 12), shared=True)
    assert len(list(one.parameters())) == 1


WRONG = [
    (
        lambda: HiddenMSE(PAIRS, {0: torch.ones(3, 2)}),
        "hidden-mse: the columns of the projection of the teacher's hidden state 0 are not orthonormal; the teacher's "
        "hidden state 3 has no projection.",
    ),
    (
        lambda: HiddenMSE([(0, 0)], {0: torch.eye(3)[:2]}),
        "hidden-mse: the projection of the teacher's hidden state 0 has the shape (2, 3); it has to be (teacher's "
        "width, student's width), the first at least as large.",
    ),
    (
        lambda: HiddenCosine(PAIRS, "trained"),
        "hidden-cosine: trained projections need both widths, as widths=(student, teacher).",
    ),
    (lambda: HiddenMSE(PAIRS, "pca"), "hidden-mse: projection='pca' is unknown"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("build", "message"), WRONG)
def test_projections_that_are_wrong(build: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        build()


def test_widths_that_do_not_fit() -> None:
    student, teacher = draw_outputs(seed=1, heads=2), draw_outputs(seed=2, heads=4)
    with pytest.raises(
        InputError, match=r"student's hidden state 1 is 6 wide and the teacher's 3 12; give projections"
    ):
        HiddenMSE([(1, 3)])(student, teacher, given_of())
    with pytest.raises(
        InputError, match=r"the teacher's hidden state 0 is 12 wide, but its projection was made for 9"
    ):
        HiddenMSE([(0, 0)], {0: basis(9, 6)})(student, teacher, given_of())
    with pytest.raises(
        InputError, match=r"the student's hidden state 0 is 6 wide, but its projection was made for 8"
    ):
        HiddenMSE([(0, 0)], "trained", widths=(8, 12))(student, teacher, given_of())


def test_teachers_with_tokens_of_their_own_are_compared_word_by_word() -> None:
    """Two words of the student's three tokens and of the teacher's four; what is in no word, or padding, is nothing."""
    own = torch.tensor([[[1.0], [3.0], [7.0], [99.0]]], requires_grad=True)
    other = torch.tensor([[[50.0], [4.0], [5.0], [9.0], [torch.nan]]])
    student = Outputs(hidden={0: own}, words=torch.tensor([[[0.5, 0.5, 0, 0], [0, 0, 1, 0]]]))
    teacher = Outputs(
        hidden={0: other},
        words=torch.tensor([[[0, 1.0, 0, 0, 0], [0, 0, 0.5, 0.5, 0]]]),
        mask=torch.tensor([[True, True, True, True, False]]),
    )
    given = Given(mask=torch.tensor([[True, True, True, False]]))
    loss = HiddenMSE([(0, 0)])(student, teacher, given)
    assert loss.item() == pytest.approx(((2 - 4) ** 2 + (7 - 7) ** 2) / 2)
    loss.backward()
    assert own.grad is not None
    assert own.grad.flatten().tolist() == [-1.0, -1.0, 0.0, 0.0]
    # Of the same tokens, one word each, it is what it is without words.
    plain = draw_outputs(seed=1), draw_outputs(seed=2)
    mask = given_of().mask
    each = torch.eye(mask.shape[1])[None] * mask[:, None]
    apart = [replace(said, words=each, mask=mask) for said in plain]
    for kind in (HiddenMSE, HiddenRelative, HiddenCosine):
        torch.testing.assert_close(kind(PAIRS)(*apart, given_of()), kind(PAIRS)(*plain, given_of()))
    with pytest.raises(InputError, match="the student's tokens are not aligned to words"):
        HiddenMSE(PAIRS)(plain[0], apart[1], given_of())
