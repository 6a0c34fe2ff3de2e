from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polycompress.distill.objectives.unequal import UnequalLogits, VocabularyMap, mass_outside, unequal_loss
from polycompress.distill.outputs import Given, Outputs
from polycompress.errors import InputError
from tests.distill.objectives.batches import check_all

seeds = st.integers(0, 10**6)


def random(*shape: int, seed: int = 0) -> Tensor:
    return 3.0 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def names(count: int) -> list[str | None]:
    return [f"p{number}" for number in range(count)]


def plain_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    p, q = (each / temperature for each in (teacher, student))
    divergence = torch.nn.functional.kl_div(
        q.log_softmax(-1), p.log_softmax(-1), reduction="batchmean", log_target=True
    )
    return divergence * temperature**2


def everywhere(batch: int) -> Given:
    return Given(mask=torch.ones(batch, 1, dtype=torch.bool))


@given(st.integers(1, 6), st.integers(2, 12), seeds, st.sampled_from([0.5, 1.0, 2.0]))
def test_equal_vocabularies_give_plain_kl_and_their_order_does_not_matter(
    places: int, pieces: int, seed: int, temperature: float
) -> None:
    student, teacher = random(places, pieces, seed=seed), random(places, pieces, seed=seed + 1)
    same = UnequalLogits(VocabularyMap.by_string(names(pieces), names(pieces)), temperature=temperature)
    wanted = plain_kl(student, teacher, temperature)
    found = same(Outputs(logits=student), Outputs(logits=teacher), everywhere(places))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)
    assert same.take_lost_mass() == {"teacher": 0.0, "student": 0.0}
    order = np.random.default_rng(seed).permutation(pieces)
    renamed = [names(pieces)[number] for number in order]
    permuted = UnequalLogits(VocabularyMap.by_string(renamed, names(pieces)), temperature=temperature)
    found = permuted(Outputs(logits=student), Outputs(logits=teacher[:, order]), everywhere(places))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


@given(st.integers(1, 5), st.integers(0, 10), st.integers(0, 10), seeds)
def test_the_lost_mass_is_exact_and_new_pieces_get_none(places: int, gone: int, new: int, seed: int) -> None:
    shared = 6
    tokens = np.random.default_rng(seed).permutation(shared + gone)
    teacher_tokens: list[str | None] = [f"p{number}" for number in tokens]
    student_tokens = names(shared) + [f"new{number}" for number in range(new)]
    mapped = VocabularyMap.by_string(teacher_tokens, student_tokens)
    assert mapped.student_ids.tolist() == list(range(shared))
    assert [teacher_tokens[number] for number in mapped.teacher_ids] == names(shared)
    student, teacher = random(places, shared + new, seed=seed), random(places, shared + gone, seed=seed + 1)
    objective = UnequalLogits(mapped)
    loss = objective(Outputs(logits=student), Outputs(logits=teacher), everywhere(places))
    # By hand: probabilities restricted and divided by their sum.
    p, q = teacher.softmax(-1), student.softmax(-1)
    kept, own = p[:, torch.from_numpy(mapped.teacher_ids)], q[:, :shared]
    restricted_p, restricted_q = kept / kept.sum(-1, keepdim=True), own / own.sum(-1, keepdim=True)
    wanted = (restricted_p * (restricted_p / restricted_q).log()).sum(-1).mean()
    torch.testing.assert_close(loss, wanted, rtol=1e-8, atol=1e-12)
    lost = objective.take_lost_mass()
    assert lost["teacher"] == pytest.approx(float((1 - kept.sum(-1)).mean()), abs=1e-12)
    assert lost["student"] == pytest.approx(float((1 - own.sum(-1)).mean()), abs=1e-12)


def test_a_tiny_lost_mass_is_not_rounded_away() -> None:
    logits = torch.tensor([[0.0, 0.0, -60.0]])
    found = mass_outside(logits, torch.tensor([0, 1]))
    assert found.item() == pytest.approx(np.exp(-60.0) / 2, rel=1e-4)


def test_the_lost_mass_is_a_mean_over_positions_since_it_was_taken() -> None:
    objective = UnequalLogits(VocabularyMap.by_string(["a", "b"], ["a"]))
    halves, mostly = torch.zeros(1, 2), torch.tensor([[np.log(3.0), 0.0]] * 3)
    for teacher in (halves, mostly):
        objective(
            Outputs(logits=torch.zeros(len(teacher), 1)), Outputs(logits=teacher), everywhere(len(teacher))
        )
    assert objective.take_lost_mass()["teacher"] == pytest.approx((0.5 + 3 * 0.25) / 4)
    assert objective.take_lost_mass()["teacher"] == 0.0


def test_gradients_reach_shared_pieces_of_the_student_only() -> None:
    objective = UnequalLogits(VocabularyMap.by_string(["a", "b", "c"], ["c", "a", "new"]))
    student, teacher = random(2, 3).requires_grad_(), random(2, 3, seed=1).requires_grad_()
    objective(Outputs(logits=student), Outputs(logits=teacher), everywhere(2)).backward()
    assert teacher.grad is None
    assert student.grad is not None
    assert student.grad[:, :2].abs().min() > 0
    assert not student.grad[:, 2].any()
    ids = torch.tensor([0, 2]), torch.tensor([1, 0])
    assert torch.autograd.gradcheck(lambda own: unequal_loss(own, teacher.detach(), *ids), (student,))


def test_excluded_pieces_padding_and_positions_without_any_shared_piece() -> None:
    objective = UnequalLogits(VocabularyMap.by_string(["a", "b", "gone"], ["a", "b"]))
    teacher = torch.tensor([[[0.0, -torch.inf, 0.0], [-torch.inf, -torch.inf, 0.0], [9.0, 0.0, 0.0]]])
    student = torch.tensor([[[0.5, 0.5], [1.0, 2.0], [torch.nan, torch.nan]]], requires_grad=True)
    told = Given(mask=torch.tensor([[True, True, False]]))
    loss = objective(Outputs(logits=student), Outputs(logits=teacher), told)
    loss.backward()
    assert loss.item() == pytest.approx(np.log(2.0))
    assert objective.take_lost_mass()["teacher"] == pytest.approx((0.5 + 1.0) / 2)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
    valid = Given(mask=told.mask, valid=torch.zeros(1, 3, dtype=torch.bool))
    nothing = objective(Outputs(logits=student), Outputs(logits=teacher), valid)
    nothing.backward()
    assert nothing.item() == 0.0


def test_it_keeps_to_what_every_objective_does() -> None:
    mapped = VocabularyMap.by_string(["a", "b", "c", "x", None], ["c", "new", "b", "a", "newer"])
    check_all(UnequalLogits(mapped, temperature=1.5))


def test_special_tokens_meet_by_their_role_and_never_by_their_looks() -> None:
    teacher: list[str | None] = ["<s>", "<mask>", "a", "[SEP]", None]
    student: list[str | None] = ["[CLS]", "[SEP]", "[MASK]", "a", None, None]
    mapped = VocabularyMap.by_string(
        teacher,
        student,
        teacher_roles={"bos": "<s>", "mask": "<mask>"},
        student_roles={"bos": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
    )
    assert list(zip(mapped.student_ids, mapped.teacher_ids, strict=True)) == [(0, 0), (2, 1), (3, 2)]
    assert (mapped.student_size, mapped.teacher_size) == (6, 5)


def test_what_is_wrong_with_vocabularies_is_said() -> None:
    with pytest.raises(InputError, match="the teacher's piece 'a' stands for 2 ids"):
        VocabularyMap.by_string(["a", "b", "a"], ["a"])
    with pytest.raises(
        InputError, match=r"student's special token 'x' has two roles.*unk token '\?' is not in"
    ):
        VocabularyMap.by_string(["a"], ["a", "x"], student_roles={"bos": "x", "eos": "x", "unk": "?"})
    with pytest.raises(InputError, match=r"share no piece\. Do both write the beginning"):
        VocabularyMap.by_string(["▁a"], ["Ġa"])


def test_logits_of_other_models_are_refused() -> None:
    objective = UnequalLogits(VocabularyMap.by_string(names(4), names(3)))
    with pytest.raises(
        InputError, match=r"\(2, 3\) \(student\) and \(2, 5\) \(teacher\) do not fit .* 3 and 4 pieces"
    ):
        objective(Outputs(logits=random(2, 3)), Outputs(logits=random(2, 5)), everywhere(2))
    with pytest.raises(InputError, match="the teacher gives no logits"):
        objective(Outputs(logits=random(2, 3)), Outputs(), everywhere(2))
    with pytest.raises(InputError, match="temperature=0 has to be above 0"):
        UnequalLogits(VocabularyMap.by_string(names(4), names(3)), temperature=0)
    assert objective.state_dict() == {}
