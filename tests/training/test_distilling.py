"""Distillation as a module and a task."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import Tensor

from polycompress.distill.objective import Objective
from polycompress.distill.objectives.divergences import Divergence
from polycompress.distill.objectives.dkd import DKD
from polycompress.distill.objectives.hidden import HiddenMSE
from polycompress.distill.objectives.multi_teacher import MixedClasses, MixedHidden
from polycompress.distill.objectives.sentence import SentenceVectors
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.training.distilling import Distillation, Weighted
from polycompress.training.teachers import Further

SMALL = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
}
PAIRS = ((0, 0), (1, 1), (2, 2))


def model_of(seed: int) -> Any:
    torch.manual_seed(seed)
    return transformers.BertModel(transformers.BertConfig(**SMALL)).eval()


def inputs() -> dict[str, Tensor]:
    ids = torch.randint(5, 60, (4, 6), generator=torch.Generator().manual_seed(0))
    return {
        "input_ids": ids,
        "attention_mask": torch.tensor([[1] * 6, [1] * 3 + [0] * 3, [1] * 6, [1] * 5 + [0]]),
    }


def test_each_text_is_taught_by_its_own_teacher() -> None:
    student, first, second = model_of(0), model_of(1), model_of(2)
    loss = Weighted(name="hidden", objective=HiddenMSE(PAIRS))
    both = Distillation(student, first, [loss], adapted=[second])
    found = both(inputs(), 1.0, taught_by=torch.tensor([1, 0, 1, 0])).item()
    weights, losses = [], []
    for teacher, places in ((first, [1, 3]), (second, [0, 2])):
        own = {name: tensor[places] for name, tensor in inputs().items()}
        losses.append(Distillation(student, teacher, [loss])(own, 1.0).item())
        weights.append(own["attention_mask"].sum().item())
    wanted = sum(weight * each for weight, each in zip(weights, losses, strict=True)) / sum(weights)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


def test_the_teacher_s_own_ids() -> None:
    student = model_of(0)
    rows = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    teacher = model_of(0)
    with torch.no_grad():
        teacher.embeddings.word_embeddings.weight[rows] = student.embeddings.word_embeddings.weight.clone()
    loss = Weighted(name="hidden", objective=HiddenMSE(PAIRS))
    assert Distillation(student, teacher, [loss], rows)(inputs(), 1.0).item() == 0.0
    assert Distillation(student, teacher, [loss])(inputs(), 1.0).item() > 0.0


def masked_model_of(seed: int) -> Any:
    torch.manual_seed(seed)
    return transformers.BertForMaskedLM(transformers.BertConfig(**SMALL)).eval()


def test_answers_at_places_are_those_of_valid_tokens() -> None:
    student, teacher = masked_model_of(0), masked_model_of(1)
    losses = [
        Weighted(name="divergence", objective=Divergence()),
        Weighted(name="dkd", objective=DKD(), weight=0.5),
        Weighted(name="hidden", objective=HiddenMSE(PAIRS)),
    ]
    labels = inputs()["input_ids"].clone()
    labels[:, ::2] = -100
    labels[inputs()["attention_mask"] == 0] = -100
    found = []
    for at_places in (False, True):
        student.zero_grad()
        loss = Distillation(student, teacher, losses, at_places=at_places)(
            inputs(), 1.0, valid=labels != -100, labels=labels
        )
        loss.backward()
        found.append((loss.detach(), student.cls.predictions.transform.dense.weight.grad.clone()))
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-4)


def test_each_of_several_teachers_says_its_own() -> None:
    """With its own ids of the student's tokens, or with tokens of its own, averaged to words."""
    student, first, second = model_of(0), model_of(1), model_of(2)
    rows = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    mixed = MixedHidden(2, (2, 1), [torch.eye(16), torch.eye(16)], student_width=16, weights=[3.0, 1.0])
    losses = [Weighted(name="mixed", objective=mixed), Weighted(name="hidden", objective=HiddenMSE(PAIRS))]
    found = Distillation(student, first, losses, others=[Further(model=second, rows=rows)])
    assert found.teachers == (first, second)
    assert not any(each.requires_grad for each in second.parameters())
    said = [
        model(**shown, output_hidden_states=True).hidden_states
        for model, shown in (
            (student, inputs()),
            (first, inputs()),
            (second, {**inputs(), "input_ids": rows[inputs()["input_ids"]]}),
        )
    ]
    mask = inputs()["attention_mask"].bool()
    target = 0.75 * said[1][2] + 0.25 * said[2][1]
    plain = (said[0][2] - target).square().mean(dim=-1)[mask].mean()
    alone = Distillation(student, first, losses[1:])(inputs(), 1.0)
    torch.testing.assert_close(found(inputs(), 1.0), plain + alone, atol=1e-6, rtol=1e-5)
    # The second one sees each token twice, and its pairs make up the student's words.
    twice = {name: tensor.repeat_interleave(2, dim=1) for name, tensor in inputs().items()}
    each = torch.eye(6)[None] * mask[:, None]
    pairs = each.repeat_interleave(2, dim=2) / 2
    loss = Distillation(student, first, losses[:1], others=[Further(model=second)])(
        inputs(), 1.0, own_inputs=[None, twice], words=[each, each, pairs]
    )
    states = second(**twice, output_hidden_states=True).hidden_states[1].reshape(4, 6, 2, 16).mean(dim=2)
    target = 0.75 * said[1][2] + 0.25 * states
    plain = (said[0][2] - target).square().mean(dim=-1)[mask].mean()
    torch.testing.assert_close(loss, plain, atol=1e-6, rtol=1e-5)


def test_a_first_teacher_with_tokens_of_its_own() -> None:
    """It sees each token twice: hidden states are compared by the student's words, vectors over its own tokens."""
    student, teacher = model_of(0), model_of(1)
    mask = inputs()["attention_mask"].bool()
    twice = {name: tensor.repeat_interleave(2, dim=1) for name, tensor in inputs().items()}
    each = torch.eye(6)[None] * mask[:, None]
    pairs = each.repeat_interleave(2, dim=2) / 2
    losses = [
        Weighted(name="hidden", objective=HiddenMSE([(2, 2)])),
        Weighted(name="vectors", objective=SentenceVectors(2, 2)),
    ]
    found = Distillation(student, teacher, losses)(inputs(), 1.0, own_inputs=[twice], words=[each, pairs])
    own = student(**inputs(), output_hidden_states=True).hidden_states[2]
    states = teacher(**twice, output_hidden_states=True).hidden_states[2].reshape(4, 6, 2, 16).mean(dim=2)
    hidden = (own - states).square().mean(dim=-1)[mask].mean()
    means = [(one * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True) for one in (own, states)]
    vectors = (means[0] - means[1]).square().mean(dim=-1).mean()
    torch.testing.assert_close(found, hidden + vectors, atol=1e-6, rtol=1e-5)


def test_a_further_teacher_without_a_head_is_not_asked_at_places() -> None:
    student, first, second = masked_model_of(0), masked_model_of(1), model_of(2)
    mixed = MixedHidden(2, (2, 2), [torch.eye(16), torch.eye(16)], student_width=16)
    losses = [
        Weighted(name="answers", objective=Divergence()),
        Weighted(name="mixed", objective=mixed),
    ]
    found = Distillation(student, first, losses, others=[Further(model=second)], at_places=True)
    valid = torch.zeros(4, 6, dtype=torch.bool)
    valid[1, 2] = True
    whole = found(inputs(), 1.0, valid=valid)
    alone = [
        Distillation(student, first, losses[:1], at_places=True)(inputs(), 1.0, valid=valid),
        Distillation(student, first, losses[1:], others=[Further(model=second)])(inputs(), 1.0),
    ]
    torch.testing.assert_close(whole, alone[0] + alone[1], atol=1e-5, rtol=1e-4)


def test_answers_of_several_teachers_are_asked_at_places() -> None:
    student, first, second = (masked_model_of(seed) for seed in range(3))
    losses = [Weighted(name="mixed", objective=MixedClasses(2))]
    found = Distillation(student, first, losses, others=[Further(model=second)], at_places=True)
    valid = torch.zeros(4, 6, dtype=torch.bool)
    valid[1, 2] = valid[3, 0] = True
    logits = [model(**inputs()).logits[valid] for model in (student, first, second)]
    target = (logits[1].softmax(-1) + logits[2].softmax(-1)) / 2
    plain = (target * (target.log() - logits[0].log_softmax(-1))).sum(-1).mean()
    torch.testing.assert_close(found(inputs(), 1.0, valid=valid), plain, atol=1e-6, rtol=1e-4)


def test_no_teacher_where_none_is_asked() -> None:
    class Alone(Objective):
        student_needs, teacher_needs = Needs(hidden=frozenset({2})), Needs()

        def forward(self, student: Outputs, teacher: Outputs, given: Given) -> Tensor:
            assert not teacher.hidden and teacher.logits is None
            return student.hidden[2].square().mean()

    student = model_of(0)
    alone = Distillation(student, None, [Weighted(name="alone", objective=Alone())])
    assert alone.teachers == ()
    assert alone(inputs(), 1.0).item() > 0
