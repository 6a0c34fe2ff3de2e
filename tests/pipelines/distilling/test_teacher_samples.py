"""States of several teachers at the same tokens or words."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import transformers

from polycompress.pipelines.distilling.teacher_samples import SAMPLES, sample_states, some_items
from polycompress.training.distilling_inputs import TaskInputs, TextInputs
from polycompress.training.items import Item, Items
from polycompress.training.own_tokens import OwnTokenInputs, OwnTokens
from polycompress.training.teachers import Further

CPU = torch.device("cpu")


def model_of(width: int, seed: int) -> Any:
    torch.manual_seed(seed)
    sizes = {"vocab_size": 30, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    return transformers.BertModel(transformers.BertConfig(hidden_size=width, **sizes)).eval()


def items_of(lengths: list[int], seed: int) -> Items:
    draw = np.random.default_rng(seed)
    return Items([("eng-Latn", [Item(draw.integers(5, 30, length), np.array([0])) for length in lengths])])


def test_states_of_the_same_tokens_in_the_same_order() -> None:
    first, second = model_of(8, 0), model_of(12, 1)
    rows = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    items = items_of([3, 5, 2], 0)
    found = sample_states(
        [Further(model=first), Further(model=second, rows=rows)],
        (2, 0),
        some_items(items, 0),
        TextInputs(),
        device=CPU,
        precision="fp32",
    )
    assert [each.shape for each in found] == [(10, 8), (10, 12)]
    order = [number for batch in some_items(items, 0) for number in batch.text_ids]
    assert sorted(order) == [0, 1, 2]
    plain = []
    for number in order:
        ids = rows[torch.from_numpy(items[number].ids)[None]]
        plain.append(second(input_ids=ids, output_hidden_states=True).hidden_states[0][0])
    torch.testing.assert_close(found[1], torch.cat(plain).detach(), atol=1e-6, rtol=1e-5)


def test_states_of_words_that_all_have() -> None:
    first, second = model_of(8, 0), model_of(8, 1)
    student, theirs = items_of([3, 2], 0), items_of([4, 2], 1)
    words = (
        [np.array([0, 1, -1]), np.array([0, 0])],
        [np.array([0, 1, -1]), np.array([0, 0])],
        [np.array([0, 0, 1, -1]), np.array([-1, 0])],
    )
    own = OwnTokens(items=(None, theirs), pad_ids=(0, 0), words=words)
    found = sample_states(
        [Further(model=first), Further(model=second)],
        (1, 1),
        some_items(student, 0),
        OwnTokenInputs(TaskInputs(student, "sequence"), own),
        device=CPU,
        precision="bf16",
    )
    assert [each.shape for each in found] == [(3, 8), (3, 8)]
    assert all(each.dtype == torch.float32 for each in found)
    assert not torch.is_grad_enabled() or not found[0].requires_grad


def test_no_more_than_is_needed_spread_over_all() -> None:
    items = items_of([2] * 5000, 0)
    numbers = [number for batch in some_items(items, 0) for number in batch.text_ids]
    assert len(numbers) == len(set(numbers)) == SAMPLES // 8
    assert min(numbers) == 0 and max(numbers) == 4999
