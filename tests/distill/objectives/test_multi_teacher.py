from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polycompress.distill.alignment import align_by_offsets, pooling_matrix, stack_pooling
from polycompress.distill.objectives.divergences import divergence_loss
from polycompress.distill.objectives.hidden import hidden_mse
from polycompress.distill.objectives.multi_teacher import (
    MixedClasses,
    MixedHidden,
    check_weights,
    mix_classes,
    mix_states,
    to_words,
)
from polycompress.distill.outputs import Given, Outputs
from polycompress.errors import InputError
from tests.distill.objectives.batches import check_all, draw, make

seeds = st.integers(0, 10**6)
EYE = torch.eye(6, dtype=torch.float64)


@given(st.integers(1, 4), seeds)
def test_averages_are_those_of_distributions_and_states(teachers: int, seed: int) -> None:
    weights = check_weights(np.random.default_rng(seed).uniform(0.1, 1.0, teachers).tolist())
    assert sum(weights) == pytest.approx(1.0)
    classes = [draw(3, 5, seed=seed + number).softmax(-1) for number in range(teachers)]
    mixture = mix_classes(classes, weights)
    torch.testing.assert_close(mixture.sum(-1), torch.ones(3, dtype=torch.float64))
    wanted = sum(weight * each for weight, each in zip(weights, classes, strict=True))
    torch.testing.assert_close(mixture, wanted)
    states = [draw(2, 3, 4 + number, seed=seed + number) for number in range(teachers)]
    ways = [draw(4 + number, 2, seed=seed - number) for number in range(teachers)]
    found = mix_states(states, ways, weights)
    wanted = sum(weight * each @ way for weight, each, way in zip(weights, states, ways, strict=True))
    torch.testing.assert_close(found, wanted)


def test_one_teacher_is_plain_distillation() -> None:
    example = make()
    hidden = MixedHidden(1, (2,), [EYE], student_width=6)
    wanted = hidden_mse(example.student.hidden[1], example.teacher.hidden[2], example.given.mask)
    torch.testing.assert_close(example.loss(hidden), wanted)
    own, other = example.student.logits, example.teacher.logits
    assert own is not None
    assert other is not None
    wanted = divergence_loss(own, other, example.given.valid, temperature=2.0)
    torch.testing.assert_close(example.loss(MixedClasses(1, temperature=2.0)), wanted)


def test_a_teacher_of_weight_0_says_nothing() -> None:
    example = make()
    told = dataclasses.replace(example.given, others=(make("tokens").student,))
    one = MixedHidden(1, (2,), [EYE], student_width=6)
    two = MixedHidden(1, (2, 2), [EYE, EYE], student_width=6, weights=(3.0, 0.0))
    torch.testing.assert_close(two(example.student, example.teacher, told), example.loss(one))
    only_first, even = (MixedClasses(2, weights=weights) for weights in ((1.0, 0.0), None))
    found = only_first(example.student, example.teacher, told)
    torch.testing.assert_close(found, example.loss(MixedClasses(1)))
    assert not torch.isclose(even(example.student, example.teacher, told), found)


def test_a_student_that_says_the_average_has_nothing_to_learn() -> None:
    first, second = (make().teacher, make().student)
    assert first.logits is not None
    assert second.logits is not None
    mixture = (first.logits.softmax(-1) / 4 + 3 * second.logits.softmax(-1) / 4).log().detach()
    state = (first.hidden[1] / 4 + 3 * second.hidden[1] / 4).detach()
    student = Outputs(hidden={1: state}, logits=mixture)
    told = dataclasses.replace(make().given, others=(second,))
    for objective in (
        MixedClasses(2, weights=(1, 3)),
        MixedHidden(1, (1, 1), [EYE, EYE], student_width=6, weights=(1, 3)),
    ):
        assert objective(student, first, told).item() == pytest.approx(0.0, abs=1e-12)
        assert objective(first, first, told).item() > 1e-3


@pytest.mark.parametrize("scores", ["text", "tokens", "ends"])
def test_classes_keep_to_what_every_objective_does(scores: str) -> None:
    check_all(MixedClasses(1, temperature=1.5), scores)  # type: ignore[arg-type]


def test_states_keep_to_what_every_objective_does() -> None:
    check_all(MixedHidden(1, (2,), [draw(6, 4)], student_width=6))


def test_no_teacher_gets_a_gradient_and_the_student_learns_with_its_projection() -> None:
    example, other = make(), make("tokens", (4, 2, 1)).teacher
    objective = MixedHidden(1, (2, 0), [draw(6, 4), draw(6, 4, seed=1)], student_width=6)
    objective(
        example.student, example.teacher, dataclasses.replace(example.given, others=(other,))
    ).backward()
    assert example.teacher.hidden[2].grad is None
    assert other.hidden[0].grad is None
    assert [name for name, _ in objective.named_parameters()] == ["of_student"]
    assert objective.of_student is not None
    assert objective.of_student.grad is not None
    assert set(objective.state_dict()) == {"of_student", "projection_0", "projection_1"}


TEXT = "unbelievably good news"
CUTS = {
    "student": [(0, 0), (0, 2), (2, 12), (12, 17), (17, 22), (0, 0)],
    "first": [(0, 0), (0, 5), (5, 7), (7, 12), (13, 15), (15, 17), (18, 22), (0, 0)],
    "second": [(0, 12), (12, 22)],  # not at all in words: "good news" is one token
}


def words(names: tuple[str, ...], padding: int = 0) -> list[Tensor]:
    """Pooling matrices of the models' cuts, in the words of the first two named."""
    alignments = [align_by_offsets(TEXT, CUTS[names[0]], CUTS[name]) for name in names]
    return [
        torch.from_numpy(
            stack_pooling([pooling_matrix(each.second, each.words)], tokens=len(each.second) + padding)
        )
        for each in alignments
    ]


def test_other_vocabularies_are_compared_by_words() -> None:
    own, theirs = words(("student", "first"))
    student, teacher = draw(1, 6, 3).requires_grad_(), draw(1, 8, 3, seed=1)
    told = Given(mask=torch.ones(1, 6, dtype=torch.bool))
    objective = MixedHidden(0, (0,), [torch.eye(3)], student_width=3)
    loss = objective(
        Outputs(hidden={0: student}, words=own), Outputs(hidden={0: teacher}, words=theirs), told
    )
    by_hand = [
        (student[0, 1:3].mean(0), teacher[0, 1:4].mean(0)),
        (student[0, 3], teacher[0, 4:6].mean(0)),
        (student[0, 4], teacher[0, 6]),
    ]
    wanted = torch.stack([(a - b).square().mean() for a, b in by_hand]).mean()
    torch.testing.assert_close(loss, wanted, rtol=1e-6, atol=1e-8)
    loss.backward()
    assert student.grad is not None
    assert not student.grad[0, [0, 5]].any()  # special tokens are in no word


def test_classes_of_tokens_are_compared_by_words() -> None:
    own, theirs = words(("student", "first"))
    student, teacher = draw(1, 6, 3), draw(1, 8, 3, seed=1)
    valid = torch.tensor([[False, True, True, False, True, False]])
    told = Given(mask=torch.ones(1, 6, dtype=torch.bool), valid=valid)
    loss = MixedClasses(1)(Outputs(logits=student, words=own), Outputs(logits=teacher, words=theirs), told)
    q, p = student.softmax(-1)[0], teacher.softmax(-1)[0]
    pairs = [(q[1:3].mean(0), p[1:4].mean(0)), (q[4], p[6])]
    wanted = torch.stack([(b * (b / a).log()).sum() for a, b in pairs]).mean()
    torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-7)


def test_padding_changes_nothing_with_words_either() -> None:
    objective = MixedHidden(0, (0,), [torch.eye(3)], student_width=3)
    losses = []
    for padding in (0, 2):
        own, theirs = words(("student", "first"), padding)
        more = torch.nn.functional.pad
        student = more(draw(1, 6, 3), (0, 0, 0, padding), value=torch.nan).requires_grad_()
        teacher = more(draw(1, 8, 3, seed=1), (0, 0, 0, padding), value=torch.nan)
        told = Given(mask=torch.arange(6 + padding)[None] < 6)
        loss = objective(
            Outputs(hidden={0: student}, words=own), Outputs(hidden={0: teacher}, words=theirs), told
        )
        loss.backward()
        assert student.grad is not None
        assert torch.isfinite(student.grad).all()
        losses.append(loss)
    torch.testing.assert_close(*losses)


def test_words_that_a_model_lacks_do_not_count() -> None:
    pooling = torch.tensor([[[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]])
    cut = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    told = Given(mask=torch.ones(1, 3, dtype=torch.bool))
    student = Outputs(hidden={0: torch.tensor([[[1.0], [3.0], [100.0]]])}, words=pooling)
    teacher = Outputs(hidden={0: torch.tensor([[[5.0], [0.0], [0.0]]])}, words=cut)
    loss = MixedHidden(0, (0,), [torch.eye(1)], student_width=1)(student, teacher, told)
    assert loss.item() == pytest.approx((2.0 - 5.0) ** 2)
    torch.testing.assert_close(to_words(student.hidden[0], pooling)[0, :, 0], torch.tensor([2.0, 100.0]))


def test_different_tokens_without_an_alignment_are_refused() -> None:
    told = Given(mask=torch.ones(1, 6, dtype=torch.bool))
    student, teacher = Outputs(logits=draw(1, 6, 3)), Outputs(logits=draw(1, 8, 3))
    with pytest.raises(InputError, match=r"cut the texts differently, into \[\(1, 6\), \(1, 8\)\] tokens"):
        MixedClasses(1)(student, teacher, told)
    aligned = dataclasses.replace(student, words=words(("student", "first"))[0])
    with pytest.raises(InputError, match="some models' tokens are aligned to words and others' are not"):
        MixedClasses(1)(aligned, teacher, told)


def test_what_is_wrong_is_said() -> None:
    example = make()
    with pytest.raises(InputError, match="1 teachers came with the batch, but 2 are mixed"):
        example.loss(MixedClasses(2))
    with pytest.raises(InputError, match=r"have \[5, 4\] classes. Only the same classes"):
        MixedClasses(1)(example.student, Outputs(logits=draw(3, 4, 4)), example.given)
    with pytest.raises(InputError, match="a model gives no logits"):
        MixedClasses(1)(example.student, Outputs(), example.given)
    with pytest.raises(
        InputError, match=r"temperature=-1\.0 has to be above 0; 3 weights are not those of 2 teachers"
    ):
        MixedClasses(2, weights=(1, 1, 1), temperature=-1.0)
    with pytest.raises(InputError, match=r"2 layers, 1 projections and 2 weights.*|spaces of"):
        MixedHidden(0, (1, 2), [EYE], student_width=6)
    with pytest.raises(InputError, match=r"spaces of \[4, 6\] units"):
        MixedHidden(0, (1, 2), [EYE, EYE[:, :4]], student_width=6)
    for weights in ([], [-1.0, 2.0], [0.0, 0.0], [float("nan")]):
        with pytest.raises(InputError, match="give one for each teacher, 0 or above, not all 0"):
            check_weights(weights)
