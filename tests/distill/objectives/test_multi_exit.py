from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from polycompress.distill.capture import Watched
from polycompress.distill.layer_map import bottom
from polycompress.distill.layers import plan_layers
from polycompress.distill.objectives.divergences import divergence_loss
from polycompress.distill.objectives.hidden import hidden_cosine
from polycompress.distill.objectives.multi_exit import MultiExit, exit_weights, label_loss
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.errors import InputError
from tests.distill.objectives.batches import CLASSES, check_all, draw, make, padded

LAYERS = 4


def tiny_bert() -> Any:
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=LAYERS, num_attention_heads=2, intermediate_size=24
    )
    torch.manual_seed(0)
    return transformers.BertForMaskedLM(config).eval()


def cut(model: Any, layers: int) -> Any:
    """The model of the lower layers alone, as it would be written to a disk and read again."""
    weights = model.state_dict()
    plan = plan_layers(model.config.to_dict(), weights, bottom(LAYERS, layers))
    smaller = type(model)(type(model.config)(**plan.config))
    smaller.load_state_dict({own: weights[theirs] for own, theirs in plan.renamed.items()})
    return smaller.eval()


def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    return {"input_ids": torch.randint(0, 40, (2, 7), generator=generator), "attention_mask": mask}


@pytest.mark.parametrize("layers", range(1, LAYERS + 1))
def test_a_model_cut_at_an_exit_says_what_the_exit_says(layers: int) -> None:
    model, inputs = tiny_bert(), batch()
    with torch.no_grad():
        said = Watched(model, Needs(hidden=frozenset(range(1, LAYERS + 1))), "student")(inputs)
        smaller = cut(model, layers)
        assert sum(each.numel() for each in smaller.parameters()) <= sum(
            each.numel() for each in model.parameters()
        )
        assert torch.equal(model.cls(said.hidden[layers]), smaller(**inputs).logits)
    assert not any(f"layer.{layers}." in name for name in smaller.state_dict())


def test_training_all_exits_betters_each() -> None:
    model, inputs = tiny_bert(), batch()
    exits = (1, 2, 4)
    objective = MultiExit(exits, LAYERS, model.cls)
    watched = Watched(model, objective.student_needs, "student")
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    told = Given(mask=inputs["attention_mask"] != 0, labels=labels)

    def losses() -> list[float]:
        states = watched(inputs).hidden
        return [label_loss(model.cls(states[each]), Outputs(), told).item() for each in exits]

    before = losses()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(10):
        optimiser.zero_grad()
        objective(watched(inputs), Outputs(), told).backward()
        optimiser.step()
    assert all(after < first - 0.5 for after, first in zip(losses(), before, strict=True))


@given(
    st.integers(1, 40).flatmap(lambda top: st.tuples(st.just(top), st.sets(st.integers(1, top), min_size=1)))
)
def test_weights_grow_with_depth_and_sum_to_the_mean_depth(found: tuple[int, set[int]]) -> None:
    layers, exits = found[0], sorted(found[1])
    weights = exit_weights(exits, layers)
    assert list(weights) == sorted(set(weights))
    assert 0 < weights[0]
    assert weights[-1] <= 1
    assert sum(weights) == pytest.approx(sum(exits) / layers)
    assert (weights[-1] == 1) == (exits[-1] == layers)


def test_the_papers_weights() -> None:
    assert exit_weights((4, 9, 18, 27, 36), 36) == pytest.approx((1 / 9, 1 / 4, 1 / 2, 3 / 4, 1))


def head() -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(6, CLASSES, dtype=torch.float64)


def test_the_loss_is_the_weighted_sum_of_what_stands_in_the_docstring() -> None:
    example, shared = make(), head()
    objective = MultiExit((1, 3), 3, shared, divergence_weight=0.7, cosine_weight=0.2, temperature=2.0)
    states = example.student.hidden
    logits = {each: shared(states[each]) for each in (1, 3)}
    told = example.given
    assert told.labels is not None
    plain = {
        each: nn.functional.cross_entropy(logits[each].flatten(0, 1), told.labels.flatten())
        for each in (1, 3)
    }
    pull = 0.7 * divergence_loss(logits[1], logits[3], told.valid, temperature=2.0)
    pull = pull + 0.2 * hidden_cosine(states[1], states[3], told.mask)
    torch.testing.assert_close(example.loss(objective), (plain[1] + pull) / 3 + plain[3])


def test_the_deepest_exit_is_not_pulled_to_the_others() -> None:
    example = make()
    objective = MultiExit(
        (1, 3), 3, head(), lambda logits, *_: 0.0 * logits.sum(), divergence_weight=1.0, cosine_weight=1.0
    )
    example.loss(objective).backward()
    lower, deepest = (example.student.hidden[each].grad for each in (1, 3))
    assert lower is not None
    assert lower.abs().sum() > 0
    assert deepest is None or not deepest.any()


class Casting(nn.Module):  # type: ignore[misc]
    """A head for states of any precision."""

    def __init__(self) -> None:
        super().__init__()
        self.head = head()

    def forward(self, states: Tensor) -> Tensor:
        wide = states.double() if states.dtype == torch.float64 else states.float()
        return nn.functional.linear(wide, self.head.weight.to(wide.dtype), self.head.bias.to(wide.dtype))


def test_padding_precision_and_empty_batches() -> None:
    # The head is the student's, and runs in its precision: of no concern here.
    def exact(states: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return Casting()(states)

    check_all(MultiExit((1, 2, 3), 3, exact, divergence_weight=1.0, cosine_weight=1.0))


def test_padding_does_not_reach_the_gradient_of_the_head() -> None:
    example, grads = make(), []
    for each in (example, padded(example, 2, "tokens")):
        shared = head()
        each.loss(MultiExit((1, 3), 3, shared, divergence_weight=1.0)).backward()
        grads.append(shared.weight.grad)
    assert grads[0] is not None
    torch.testing.assert_close(grads[0], grads[1])


def test_a_loss_against_a_teacher() -> None:
    example, shared = make(), head()

    def soft(logits: Tensor, teacher: Outputs, told: Given) -> Tensor:
        assert teacher.logits is not None
        return divergence_loss(logits, teacher.logits, told.valid)

    objective = MultiExit((2,), 2, shared, soft, teacher_needs=Needs(logits=True))
    assert objective.teacher_needs.logits
    teacher = example.teacher.logits
    assert teacher is not None
    wanted = divergence_loss(shared(example.student.hidden[2]), teacher, example.given.valid)
    torch.testing.assert_close(example.loss(objective), wanted)


def test_the_head_stays_the_students() -> None:
    objective = MultiExit((1,), 1, head())
    assert not list(objective.parameters())
    assert objective.state_dict() == {}
    assert objective.teacher_needs == Needs()


def test_what_is_wrong_is_said() -> None:
    for exits, message in (
        ((), "no exits"),
        ((0, 2), "between 1 and 3"),
        ((4,), "between 1 and 3"),
        ((2, 2), "go up"),
    ):
        with pytest.raises(InputError, match=message):
            MultiExit(exits, 3, head())
    with pytest.raises(
        InputError, match=r"temperature=0.0 has to be above 0; the weights -1.0 and 0.0 must not"
    ):
        MultiExit((1,), 1, head(), temperature=0.0, divergence_weight=-1.0)
    with pytest.raises(InputError, match="the batch has no labels"):
        label_loss(draw(2, 3), Outputs(), Given(mask=torch.ones(2, 1, dtype=torch.bool)))
    told = Given(mask=torch.ones(2, 1, dtype=torch.bool), labels=torch.zeros(3, dtype=torch.long))
    with pytest.raises(InputError, match=r"labels of shape \(3,\) do not fit logits of shape \(2, 3\)"):
        label_loss(draw(2, 3), Outputs(), told)
