from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.evaluation.batches import pad_batch, padded_length, plan_batches
from polycompress.evaluation.encoding import Encoded


def row(*ids: int, types: tuple[int, ...] | None = None) -> Encoded:
    segments = None if types is None else np.array(types, dtype=np.int32)
    return Encoded(0, np.array(ids, dtype=np.int32), segments)


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(64, 300), st.sampled_from((1, 8)))
def test_every_item_once_within_the_budget(lengths: list[int], budget: int, multiple: int) -> None:
    batches = plan_batches(lengths, budget, multiple)
    assert sorted(item for batch in batches for item in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) * padded_length(max(lengths[item] for item in batch), multiple) <= budget
    longest = [max(lengths[item] for item in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    for before, after in itertools.pairwise(batches):
        assert min(lengths[item] for item in before) >= max(lengths[item] for item in after)


def cost(batches: list[list[int]], lengths: list[int], overhead: int) -> int:
    return sum(len(batch) * max(lengths[item] for item in batch) + overhead for batch in batches)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=9), st.integers(20, 60), st.integers(0, 30))
def test_no_other_cut_costs_less(lengths: list[int], budget: int, overhead: int) -> None:
    batches = plan_batches(lengths, budget, 1, overhead)
    order = sorted(range(len(lengths)), key=lambda item: -lengths[item])
    least = min(
        cost(cut, lengths, overhead)
        for ends in itertools.product((False, True), repeat=len(order) - 1)
        for cut in [cuts(order, ends)]
        if all(len(batch) * lengths[batch[0]] <= budget for batch in cut)
    )
    assert cost(batches, lengths, overhead) == least


def cuts(order: list[int], ends: tuple[bool, ...]) -> list[list[int]]:
    found = [[order[0]]]
    for item, cut in zip(order[1:], ends, strict=True):
        if cut:
            found.append([])
        found[-1].append(item)
    return found


def test_a_short_text_is_not_padded_to_a_long_one() -> None:
    assert plan_batches([200, 9, 8, 7], 4096) == [[0], [1, 2, 3]]


def test_an_item_over_the_budget() -> None:
    with pytest.raises(
        InputError, match="batch_tokens is 32, but the longest text takes 40 tokens: give at least 40"
    ):
        plan_batches([3, 33], 32)


def test_padding_stands_on_the_right() -> None:
    batch = pad_batch([row(5, 6, 7), row(8)], pad_id=1, multiple=4)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 1], [8, 1, 1, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]
    assert "token_type_ids" not in batch
    assert str(batch["input_ids"].dtype) == "torch.int64"


def test_segments_are_padded_with_the_first() -> None:
    batch = pad_batch([row(5, 6, types=(0, 1)), row(8, types=(1,))], pad_id=1, multiple=1)
    assert batch["token_type_ids"].tolist() == [[0, 1], [1, 0]]
