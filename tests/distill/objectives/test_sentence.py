from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polycompress.distill.objectives.sentence import SentenceVectors, mean_pool, sentence_loss
from polycompress.distill.outputs import Given, Outputs
from polycompress.errors import InputError
from tests.distill.objectives.batches import check_all


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


MASK = torch.tensor([[True, True, True], [True, False, False]])


def test_the_mean_is_over_real_tokens() -> None:
    states = random(2, 3, 4)
    states[1, 1:] = torch.nan
    found = mean_pool(states, MASK)
    torch.testing.assert_close(found, torch.stack([states[0].mean(dim=0), states[1, 0]]))
    assert mean_pool(states.bfloat16(), MASK).dtype == torch.float32
    assert mean_pool(states, torch.zeros(2, 3, dtype=torch.bool)).tolist() == [[0.0] * 4] * 2


def test_by_hand() -> None:
    student, teacher = torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    every = torch.tensor([True, True])
    assert sentence_loss(student, teacher, every).item() == pytest.approx(0.25)
    assert sentence_loss(student, teacher, torch.tensor([True, False])).item() == pytest.approx(0.5)
    turned = torch.tensor([[0.0, 2.0], [6.0, 8.0]])
    assert sentence_loss(student, turned, every, "cosine").item() == pytest.approx(0.5)
    unit = torch.nn.functional.normalize
    squared = sentence_loss(unit(student), unit(turned), every).item()
    assert squared == pytest.approx(0.5 * 2 / 2), "of unit vectors the cosine's, times 2 / d"


@given(st.integers(1, 5), st.integers(0, 1000), st.sampled_from(["mse", "cosine"]))
def test_the_same_vectors_cost_nothing(texts: int, seed: int, distance: str) -> None:
    vectors = random(texts, 7, seed=seed).double()
    counts = torch.ones(texts, dtype=torch.bool)
    found = sentence_loss(vectors, vectors, counts, distance)  # type: ignore[arg-type]
    assert found.item() == pytest.approx(0.0, abs=1e-12)
    other = sentence_loss(vectors, vectors + 1.0, counts, distance)  # type: ignore[arg-type]
    assert other.item() > 0.0


def test_gradients_are_those_of_finite_differences() -> None:
    student, teacher = random(3, 4).double().requires_grad_(), random(3, 4, seed=1).double()
    counts = torch.tensor([True, False, True])
    for distance in ("mse", "cosine"):
        assert torch.autograd.gradcheck(
            lambda own, d=distance: sentence_loss(own, teacher, counts, d),
            (student,),
        )


def test_translations_are_pulled_to_the_vector_of_the_source() -> None:
    hidden = random(4, 3, 5).requires_grad_()
    mask = torch.ones(4, 3, dtype=torch.bool)
    vectors = random(2, 5, seed=1).requires_grad_()
    objective = SentenceVectors(6, None)
    # Two sources, then their translations in the other order.
    told = Given(mask=mask, source=torch.tensor([0, 1, 1, 0]))
    loss = objective(Outputs(hidden={6: hidden}), Outputs(vectors=vectors), told)
    pooled = hidden.mean(dim=1)
    mse = torch.nn.functional.mse_loss
    sources, translations = mse(pooled[:2], vectors), mse(pooled[2:], vectors[[1, 0]])
    torch.testing.assert_close(loss, (sources + translations) / 2)
    loss.backward()
    assert vectors.grad is None
    assert hidden.grad is not None
    assert hidden.grad.abs().sum(dim=(1, 2)).min() > 0


def test_a_teacher_that_sees_the_same_tokens() -> None:
    student, teacher = random(2, 3, 4), random(2, 3, 4, seed=1)
    objective = SentenceVectors(1, 2, distance="cosine")
    loss = objective(Outputs(hidden={1: student}), Outputs(hidden={2: teacher}), Given(mask=MASK))
    wanted = sentence_loss(
        mean_pool(student, MASK), mean_pool(teacher, MASK), torch.ones(2, dtype=torch.bool), "cosine"
    )
    torch.testing.assert_close(loss, wanted)
    assert objective.teacher_needs.hidden == {2}
    assert SentenceVectors(1, None).teacher_needs.hidden == frozenset()


def test_padding_and_empty_texts_change_nothing() -> None:
    student, teacher = random(2, 3, 4), random(2, 3, 4, seed=1)
    objective = SentenceVectors(0, 0)
    loss = objective(Outputs(hidden={0: student}), Outputs(hidden={0: teacher}), Given(mask=MASK))
    more = torch.nn.functional.pad
    padded = objective(
        Outputs(hidden={0: more(student, (0, 0, 0, 2, 0, 1), value=torch.nan)}),
        Outputs(hidden={0: more(teacher, (0, 0, 0, 2, 0, 1), value=torch.nan)}),
        Given(mask=more(MASK, (0, 2, 0, 1))),
    )
    torch.testing.assert_close(padded, loss)


@pytest.mark.parametrize("distance", ["mse", "cosine"])
def test_it_keeps_to_what_every_objective_does(distance: str) -> None:
    check_all(SentenceVectors(1, 2, distance=distance))  # type: ignore[arg-type]
    check_all(SentenceVectors(1, 2, distance=distance, widths=(6, 6)))  # type: ignore[arg-type]


def test_unequal_widths_are_projected_and_the_projection_learns() -> None:
    objective = SentenceVectors(0, None, widths=(4, 6))
    student, teacher = Outputs(hidden={0: random(2, 3, 4)}), Outputs(vectors=random(2, 6, seed=1))
    loss = objective(student, teacher, Given(mask=MASK))
    loss.backward()
    assert objective.projection is not None
    assert objective.projection.shape == (6, 4)
    assert objective.projection.grad is not None
    assert objective.projection.grad.abs().sum() > 0
    with pytest.raises(InputError, match=r"shape \(2, 4\), the teacher's \(2, 6\)\. Give widths"):
        SentenceVectors(0, None)(student, teacher, Given(mask=MASK))


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(
        InputError, match=r"distance='l1' is unknown; use one of mse, cosine; widths=\(0, 3\)"
    ):
        SentenceVectors(0, 0, distance="l1", widths=(0, 3))  # type: ignore[arg-type]
    student = Outputs(hidden={0: random(2, 3, 4)})
    with pytest.raises(InputError, match="no vectors of the teacher's came"):
        SentenceVectors(0, None)(student, Outputs(), Given(mask=MASK))
    with pytest.raises(InputError, match=r"the teacher has \(2, 5\) tokens, the student \(2, 3\)"):
        SentenceVectors(0, 0)(student, Outputs(hidden={0: random(2, 5, 4)}), Given(mask=MASK))
    own = Outputs(hidden={0: random(2, 5, 4)}, mask=torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(InputError, match=r"say which of the teacher's are real \(Outputs\.mask\)"):
        SentenceVectors(0, 0)(student, own, Given(mask=MASK))


def test_a_teacher_with_tokens_of_its_own_is_averaged_over_them() -> None:
    student, hidden = Outputs(hidden={0: random(2, 3, 4)}), random(2, 5, 4, seed=1)
    mask = torch.tensor([[True, True, True, True, False], [True, False, False, False, False]])
    hidden[~mask] = torch.nan
    vectors = torch.stack([hidden[0, :4].mean(dim=0), hidden[1, 0]])
    expected = SentenceVectors(0, None)(student, Outputs(vectors=vectors), Given(mask=MASK))
    found = SentenceVectors(0, 0)(student, Outputs(hidden={0: hidden}, mask=mask), Given(mask=MASK))
    torch.testing.assert_close(found, expected)
