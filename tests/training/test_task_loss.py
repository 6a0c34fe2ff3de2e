from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from polycompress.training.batches import collate
from polycompress.training.examples import Example
from polycompress.training.items import Item, Items
from polycompress.training.masking import IGNORED
from polycompress.training.task_loss import (
    FineTuning,
    TaskLoss,
    balanced_weights,
    classes_loss,
    span_loss,
    stack_labels,
    stack_types,
)
from tests.training.test_parameter_groups import build


def test_classes_are_a_plain_cross_entropy() -> None:
    logits = torch.randn(5, 3)
    labels = torch.tensor([0, 2, 1, 1, 0])
    torch.testing.assert_close(classes_loss(logits, labels), functional.cross_entropy(logits, labels))


def test_words_without_a_tag_do_not_count() -> None:
    logits = torch.randn(2, 4, 3, requires_grad=True)
    labels = torch.tensor([[0, IGNORED, 2, IGNORED], [IGNORED, IGNORED, 1, IGNORED]])
    loss = classes_loss(logits, labels)
    wanted = functional.cross_entropy(
        torch.stack([logits[0, 0], logits[0, 2], logits[1, 2]]), torch.tensor([0, 2, 1])
    )
    torch.testing.assert_close(loss, wanted)
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[0, 1].any()


def test_nothing_labelled_is_zero_with_gradients() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    loss = classes_loss(logits, torch.full((2,), IGNORED))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_weights_of_classes_scale_each_label() -> None:
    logits, labels = torch.randn(4, 2), torch.tensor([0, 1, 1, 1])
    weights = torch.tensor([2.0, 0.5])
    each = functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(classes_loss(logits, labels, weights), (each * weights[labels]).mean())


def test_bf16_logits_give_an_fp32_loss() -> None:
    assert classes_loss(torch.randn(2, 3, dtype=torch.bfloat16), torch.tensor([0, 1])).dtype == torch.float32


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6).filter(any))
def test_balanced_weights_have_mean_one_over_the_examples(counts: list[int]) -> None:
    weights = balanced_weights(np.array(counts))
    assert (weights * counts).sum() / sum(counts) == pytest.approx(1.0)
    assert all((weight == 0) == (count == 0) for weight, count in zip(weights, counts, strict=True))
    products = [weight * count for weight, count in zip(weights, counts, strict=True) if count]
    assert products == pytest.approx([products[0]] * len(products))


def test_spans_leave_padding_out() -> None:
    starts, ends = torch.randn(2, 5), torch.randn(2, 5)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    spans = torch.tensor([[1, 4], [0, 2]])
    loss = span_loss(starts, ends, spans, mask)
    alone = [
        (functional.cross_entropy(starts[n : n + 1, :w], spans[n : n + 1, 0])
         + functional.cross_entropy(ends[n : n + 1, :w], spans[n : n + 1, 1])) / 2
        for n, w in ((0, 5), (1, 3))
    ]  # fmt: skip
    torch.testing.assert_close(loss, torch.stack(alone).mean())
    assert torch.isfinite(loss)


ITEMS = Items(
    [
        (
            "deu-Latn",
            [
                Item(np.array([0, 7, 8, 2]), np.array([IGNORED, 1, 0, IGNORED]), np.array([0, 0, 1, 1])),
                Item(np.array([0, 9, 2]), np.array([IGNORED, 2, IGNORED]), np.array([0, 1, 1])),
            ],
        )
    ]
)


def test_labels_and_segments_are_padded_as_the_batch_is() -> None:
    chosen = [ITEMS[0], ITEMS[1]]
    assert stack_labels(chosen, "token", 6).tolist() == [
        [IGNORED, 1, 0, IGNORED, IGNORED, IGNORED], [IGNORED, 2, IGNORED, IGNORED, IGNORED, IGNORED],
    ]  # fmt: skip
    assert stack_types(chosen, 5)["token_type_ids"].tolist() == [[0, 0, 1, 1, 0], [0, 1, 1, 0, 0]]
    spans = [Item(np.arange(4), np.array([1, 3])), Item(np.arange(3), np.array([0, 0]))]
    assert stack_labels(spans, "span", 4).tolist() == [[1, 3], [0, 0]]
    classes = [Item(np.arange(4), np.array([2])), Item(np.arange(3), np.array([0]))]
    assert stack_labels(classes, "sequence", 4).tolist() == [2, 0]
    assert stack_types(spans, 4) == {}


def test_a_batch_of_words_as_the_model_takes_it() -> None:
    model = build("bert", "AutoModelForTokenClassification", num_labels=3).eval()
    objective = TaskLoss(model, "token")
    task = FineTuning(objective, objective, ITEMS, device=torch.device("cpu"), is_sparse=True)
    rows = [[Example(number, "deu-Latn", ITEMS[number].ids)] for number in range(2)]
    batch = collate(rows, pad_id=1)
    assert task.weight(batch) == 3
    prepared = task.prepare(batch)
    assert prepared.rows is not None
    assert prepared.rows.tolist() == [0, 1, 2, 7, 8, 9]
    loss = task.module(**prepared.inputs)
    shares = []
    for half in batch.split():
        shares.append(task.module(**task.prepare(half).inputs) * task.weight(half))
    torch.testing.assert_close(sum(shares) / 3, loss)


def test_a_batch_of_texts_counts_texts() -> None:
    items = Items(
        [("deu-Latn", [Item(np.array([0, 7, 2]), np.array([1])), Item(np.array([0, 8, 2]), np.array([0]))])]
    )
    model = build("xlm-roberta").eval()
    objective = TaskLoss(model, "sequence", torch.tensor([1.0, 3.0]))
    task = FineTuning(objective, objective, items, device=torch.device("cpu"), is_sparse=False)
    batch = collate([[Example(number, "deu-Latn", items[number].ids)] for number in range(2)], pad_id=1)
    assert task.weight(batch) == 2
    prepared = task.prepare(batch)
    assert prepared.rows is None
    assert "token_type_ids" not in prepared.inputs
    logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    wanted = classes_loss(logits, torch.tensor([1, 0]), torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(task.module(**prepared.inputs), wanted)
    assert "class_weights" not in objective.state_dict()
