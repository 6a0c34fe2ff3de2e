"""Batches for teachers with tokens of their own."""

from __future__ import annotations

import numpy as np
import torch

from polycompress.distill.alignment import NO_WORD
from polycompress.training.batches import collate
from polycompress.training.distilling_inputs import TaskInputs
from polycompress.training.items import Item, Items
from polycompress.training.own_tokens import OwnTokenInputs, OwnTokens, stack_items, stack_words


def item(ids: list[int], label: int = 0, types: list[int] | None = None) -> Item:
    return Item(np.array(ids), np.array([label]), None if types is None else np.array(types))


def test_items_are_padded_with_the_teacher_s_own_padding() -> None:
    found = stack_items([item([4, 5, 6], types=[0, 1, 1]), item([7], types=[0])], 9)
    assert found["input_ids"].tolist() == [[4, 5, 6], [7, 9, 9]]
    assert found["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert found["token_type_ids"].tolist() == [[0, 1, 1], [0, 0, 0]]
    assert set(stack_items([item([4])], 9)) == {"input_ids", "attention_mask"}


def test_words_of_all_models_have_the_same_numbers() -> None:
    first = [np.array([NO_WORD, 0, 0, 1]), np.array([0])]
    second = [np.array([0, 1]), np.array([NO_WORD, 0, 0])]
    one, other = stack_words([first, second], [4, 5])
    assert one.shape == (2, 2, 4) and other.shape == (2, 2, 5)
    assert one[0].tolist() == [[0, 0.5, 0.5, 0], [0, 0, 0, 1]]
    assert other[1].tolist() == [[0, 0.5, 0.5, 0, 0], [0] * 5]
    none = [np.array([NO_WORD])]
    assert [each.shape for each in stack_words([none, none], [1, 3])] == [(1, 1, 1), (1, 1, 3)]


def test_a_batch_shows_each_teacher_its_own() -> None:
    student = Items([("eng-Latn", [item([1, 2], 1), item([3], 2), item([4, 5, 6], 0)])])
    teacher = Items([("eng-Latn", [item([10]), item([11, 12]), item([13])])])
    words = [
        [np.arange(len(items[number].ids)) for number in range(3)] for items in (student, teacher, student)
    ]
    own = OwnTokens(items=(teacher, None), pad_ids=(99, 0), words=tuple(words))
    shown = OwnTokenInputs(TaskInputs(student, "sequence"), own)
    batch = collate([[student.get(0, number)] for number in (2, 1)], pad_id=0)
    inputs, told = shown(batch)
    assert inputs["input_ids"].tolist() == [[4, 5, 6], [3, 0, 0]]
    assert told["labels"].tolist() == [0, 2]
    first, second = told["own_inputs"]
    assert first["input_ids"].tolist() == [[13, 99], [11, 12]] and second is None
    assert [each.shape for each in told["words"]] == [(2, 3, 3), (2, 3, 2), (2, 3, 3)]
    assert torch.equal(told["words"][0], told["words"][2])
    assert shown.weight(batch) == 2
    without = OwnTokenInputs(
        TaskInputs(student, "sequence"), OwnTokens(items=(teacher, None), pad_ids=(99, 0))
    )
    assert "words" not in without(batch)[1]
