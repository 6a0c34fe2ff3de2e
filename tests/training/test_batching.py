from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.training.batches import Batch, collate
from polycompress.training.batching import Batching, bucket, plan_window
from polycompress.training.examples import Example, Examples
from polycompress.training.loader import BatchLoader
from polycompress.training.masking import MaskedLM, Masking
from polycompress.training.mixing import Draw, LanguageMixer, Stage
from polycompress.training.shares import Mixing
from tests.training.tiny_examples import FIRST_WORD, write_examples

PAD = 1
RNG = np.random.default_rng(1)
LENGTHS = {
    "deu-Latn": RNG.integers(2, 33, 150).tolist(),
    "swh-Latn": RNG.integers(2, 33, 40).tolist(),
    "hin-Deva": RNG.integers(2, 33, 11).tolist(),
}
PADDED = Batching(token_budget=128, window=4)
PACKED = Batching(token_budget=128, window=4, packed_length=64)
MONOLINGUAL = Batching(token_budget=96, window=6, monolingual=True, multiple=8)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return write_examples(tmp_path_factory.mktemp("examples"), LENGTHS)


def loader(
    examples: Examples,
    batching: Batching = PADDED,
    *,
    seed: int = 0,
    max_epochs: int | None = None,
    stages: tuple[Stage, ...] = (Stage(Mixing()),),
    **ranks: Any,
) -> BatchLoader:
    mixer = LanguageMixer(examples, stages, seed=seed, max_epochs=max_epochs)
    objective = MaskedLM(masking=Masking(), seed=seed, mask_id=4, ordinary=np.arange(FIRST_WORD, 100))
    return BatchLoader(examples, mixer, batching, pad_id=PAD, objective=objective, seed=seed, **ranks)


def take(batches: BatchLoader, count: int) -> list[dict[str, Any]]:
    return [batch.as_dict() for batch in itertools.islice(batches, count)]


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(64, 300), st.sampled_from([1, 4]))
def test_buckets_hold_everything_once_within_the_budget(
    lengths: list[int], budget: int, multiple: int
) -> None:
    batches = bucket(lengths, budget, multiple)
    assert sorted(item for batch in batches for item in batch) == list(range(len(lengths)))
    for batch in batches:
        width = -(-max(lengths[item] for item in batch) // multiple) * multiple
        assert len(batch) * width <= budget
    # another example would have gone beyond the budget, except in the last batch
    for batch in batches[:-1]:
        width = -(-max(lengths[item] for item in batch) // multiple) * multiple
        assert (len(batch) + 1) * width > budget


def test_buckets_by_hand() -> None:
    assert bucket([3, 9, 4, 10, 1], 20) == [[3, 1], [2, 0, 4]]
    with pytest.raises(InputError, match="token_budget is 20 tokens, but one row alone needs 21"):
        bucket([21], 20)


@pytest.mark.parametrize("batching", [PADDED, PACKED, MONOLINGUAL])
def test_a_window_is_planned_whole(batching: Batching) -> None:
    draws = [Draw(number % 3, number, 0, 1 + number * 7 % 32) for number in range(100)]
    plans = plan_window(draws, batching, 0, 5)
    assert sorted(place for plan in plans for row in plan for place in row) == list(range(100))
    assert plans == plan_window(draws, batching, 0, 5)
    assert plans != plan_window(draws, batching, 0, 6)
    assert plans != plan_window(draws, batching, 1, 5)
    if batching.monolingual:
        for plan in plans:
            assert len({draws[place].language for row in plan for place in row}) == 1


@pytest.mark.parametrize("batching", [PADDED, PACKED, MONOLINGUAL])
def test_an_epoch_has_every_text_once_within_the_budget(examples: Examples, batching: Batching) -> None:
    seen: Counter[int] = Counter()
    total: Counter[str] = Counter()
    batches = loader(examples, batching, max_epochs=1)
    for batch in batches:
        assert batch.input_ids.numel() <= batching.token_budget
        assert batch.input_ids.shape[1] % batching.multiple == 0
        assert int(batch.attention_mask.sum()) == batch.tokens == sum(batch.lengths)
        assert len(batch.text_ids) == len(batch.languages) == len(batch.lengths) == sum(batch.row_examples)
        assert (batch.document_ids is not None) == (batching.packed_length is not None)
        if batching.monolingual:
            assert len(set(batch.languages)) == 1
        seen.update(batch.text_ids)
        total.update(batch.tokens_by_language())
    assert seen == Counter(range(len(examples)))
    assert dict(total) == batches.tokens == {code: sum(lengths) for code, lengths in LENGTHS.items()}
    assert batches.epochs == dict.fromkeys(LENGTHS, 1.0)


def test_a_batch_holds_the_examples(examples: Examples) -> None:
    mixer = LanguageMixer(examples, max_epochs=1)
    for batch in BatchLoader(examples, mixer, PADDED, pad_id=PAD):
        assert batch.labels is None
        for row, text in enumerate(batch.text_ids):
            ids = examples[text].ids.tolist()
            assert batch.languages[row] == examples[text].language
            assert batch.input_ids[row].tolist() == ids + [PAD] * (batch.input_ids.shape[1] - len(ids))


def test_little_is_padded(examples: Examples) -> None:
    def real(batches: list[Batch]) -> float:
        return sum(batch.tokens for batch in batches) / sum(batch.input_ids.numel() for batch in batches)

    order = [examples[text] for text in np.random.default_rng(0).permutation(len(examples))]
    random = [
        collate([[each] for each in order[begin : begin + 8]], pad_id=PAD)
        for begin in range(0, len(order), 8)
    ]
    window = Batching(token_budget=256, window=16)
    assert real(list(loader(examples, window, max_epochs=1))) > 0.9
    assert real(list(loader(examples, Batching(token_budget=256, packed_length=64), max_epochs=1))) > 0.93
    assert real(random) < 0.65


@pytest.mark.parametrize("batching", [PADDED, PACKED, MONOLINGUAL])
@pytest.mark.parametrize("done", [0, 1, 4, 5, 33, 90])  # an epoch is about 30 batches
def test_resuming_gives_exactly_the_same_next_batches(
    examples: Examples, batching: Batching, done: int
) -> None:
    unbroken = loader(examples, batching, seed=3)
    take(unbroken, done)
    state = json.loads(json.dumps(unbroken.state_dict()))
    resumed = loader(examples, batching, seed=3)
    resumed.load_state_dict(state)
    assert resumed.tokens == unbroken.tokens and resumed.batches == done
    assert take(resumed, 45) == take(unbroken, 45)
    assert resumed.state_dict() == unbroken.state_dict()
    assert resumed.tokens == unbroken.tokens


@pytest.mark.parametrize("batching", [PADDED, PACKED])
@pytest.mark.parametrize("done", [0, 1, 3, 4, 9])  # windows are of four batches or a few more
def test_resuming_with_other_shares_gives_exactly_the_same_next_batches(
    examples: Examples, batching: Batching, done: int
) -> None:
    unbroken = loader(examples, batching, seed=3)
    take(unbroken, 6)
    unbroken.reweigh({"deu-Latn": 1, "swh-Latn": 1, "hin-Deva": 8})
    take(unbroken, done)
    resumed = loader(examples, batching, seed=3)
    resumed.load_state_dict(json.loads(json.dumps(unbroken.state_dict())))
    assert resumed.shares == unbroken.shares == {"deu-Latn": 0.1, "swh-Latn": 0.1, "hin-Deva": 0.8}
    assert take(resumed, 20) == take(unbroken, 20)
    assert resumed.state_dict() == unbroken.state_dict()


def test_other_shares_hold_from_the_next_window_on(examples: Examples) -> None:
    usual, other = loader(examples), loader(examples)
    take(usual, 1), take(other, 1)
    other.reweigh({"deu-Latn": 0, "swh-Latn": 0, "hin-Deva": 1})
    rest = len(other._plans) - 1
    assert take(other, rest) == take(usual, rest)
    assert {code for batch in take(other, 10) for code in batch["languages"]} == {"hin-Deva"}


def test_the_state_is_a_snapshot(examples: Examples) -> None:
    batches = loader(examples)
    state = batches.state_dict()
    before = json.dumps(state)
    take(batches, 40)
    assert json.dumps(state) == before


def test_resuming_at_the_end_stays_there(examples: Examples) -> None:
    done = loader(examples, max_epochs=1)
    count = len(take(done, 1000))
    state = done.state_dict()
    resumed = loader(examples, max_epochs=1)
    resumed.load_state_dict(state)
    assert resumed.next() is None and done.next() is None
    assert resumed.batches == done.batches == count


def test_the_order_depends_on_seed_and_epoch_alone(examples: Examples) -> None:
    first = [batch["text_ids"] for batch in take(loader(examples), 40)]
    assert [batch["text_ids"] for batch in take(loader(examples), 40)] == first
    assert [batch["text_ids"] for batch in take(loader(examples, seed=1), 40)] != first
    torch.manual_seed(5)
    assert [batch["text_ids"] for batch in take(loader(examples), 40)] == first


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("batching", [PADDED, PACKED])
def test_ranks_together_give_the_order_of_one_process(
    examples: Examples, batching: Batching, world_size: int
) -> None:
    whole = take(loader(examples, batching, max_epochs=2), 1000)
    ranks = [
        loader(examples, batching, max_epochs=2, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    parts = [take(each, 1000) for each in ranks]
    for rank, part in enumerate(parts):
        assert part == whole[rank::world_size]
    assert ranks[0].tokens == loader_tokens(whole)


def loader_tokens(batches: list[dict[str, Any]]) -> dict[str, int]:
    total: Counter[str] = Counter(dict.fromkeys(LENGTHS, 0))
    for batch in batches:
        for code, length in zip(batch["languages"], batch["lengths"], strict=True):
            total[code] += length
    return dict(total)


def test_even_ranks_have_as_many_batches_each(examples: Examples) -> None:
    count = len(take(loader(examples, max_epochs=1), 1000))
    world_size = next(size for size in (2, 3, 5, 7) if count % size)
    parts = [
        take(loader(examples, max_epochs=1, rank=rank, world_size=world_size, even=True), 1000)
        for rank in range(world_size)
    ]
    assert {len(part) for part in parts} == {count // world_size}


def test_a_position_is_that_of_all_ranks_and_of_any_number_of_them(examples: Examples) -> None:
    whole = take(loader(examples), 80)
    ranks = [loader(examples, rank=rank, world_size=3) for rank in range(3)]
    for each in ranks:
        take(each, 7)
    states = [each.state_dict() for each in ranks]
    assert states[0] == states[1] == states[2]
    for world_size in (1, 2, 3):
        for rank in range(world_size):
            resumed = loader(examples, rank=rank, world_size=world_size)
            resumed.load_state_dict(states[0])
            assert take(resumed, 10) == whole[21 + rank : 80 : world_size][:10]


def test_a_batch_is_of_one_stage(examples: Examples) -> None:
    only = [
        Stage(Mixing(strategy="fixed", shares={**dict.fromkeys(LENGTHS, 0.0), code: 1.0}), tokens)
        for code, tokens in (("deu-Latn", 700), ("swh-Latn", None))
    ]
    batches = take(loader(examples, stages=tuple(only)), 20)
    languages = [set(batch["languages"]) for batch in batches]
    change = languages.index({"swh-Latn"})
    assert languages == [{"deu-Latn"}] * change + [{"swh-Latn"}] * (20 - change)
    assert 700 <= sum(batch["tokens"] for batch in batches[:change]) < 733


def test_a_position_of_other_data_is_refused(examples: Examples, tmp_path: Path) -> None:
    state = json.loads(json.dumps(loader(examples).state_dict()))
    with pytest.raises(InputError, match=r"other data: batching\.token_budget was 128 and is 160"):
        loader(examples, Batching(token_budget=160, window=4)).load_state_dict(state)
    with pytest.raises(InputError, match=r"mixing\.seed was 0 and is 1; batching\.seed was 0 and is 1"):
        loader(examples, seed=1).load_state_dict(state)
    with pytest.raises(InputError, match=r"examples was .*swh-Latn.* and is .*; mixing\.languages"):
        loader(write_examples(tmp_path, {"deu-Latn": [5, 6]})).load_state_dict(state)


def test_what_does_not_fit_is_refused(examples: Examples) -> None:
    with pytest.raises(InputError, match="token_budget is 31 tokens, but one row alone needs 32"):
        loader(examples, Batching(token_budget=31))
    with pytest.raises(InputError, match="token_budget is 39 tokens, but one row alone needs 40"):
        loader(examples, Batching(token_budget=39, packed_length=36, multiple=8))
    with pytest.raises(InputError, match="packed_length is 31 tokens, but the longest example has 32"):
        loader(examples, Batching(token_budget=100, packed_length=31))
    with pytest.raises(
        InputError, match=r"token_budget is 0: give at least 1\n  window is -1: give at least 1"
    ):
        Batching(token_budget=0, window=-1)
    with pytest.raises(InputError, match="Rank 2 is not one of 2 ranks"):
        loader(examples, rank=2, world_size=2)


@pytest.mark.parametrize("batching", [PADDED, PACKED])
def test_halves_of_a_batch_are_the_batch(examples: Examples, batching: Batching) -> None:
    batch = max(itertools.islice(loader(examples, batching), 12), key=lambda each: len(each.row_examples))
    assert len(batch.row_examples) > 1
    parts = batch.split()
    assert [len(part.row_examples) for part in parts] == [
        -(-len(batch.row_examples) // 2),
        len(batch.row_examples) // 2,
    ]
    assert sum(part.tokens for part in parts) == batch.tokens
    assert sum(part.labelled for part in parts) == batch.labelled
    assert sum((part.text_ids for part in parts), ()) == batch.text_ids
    begin = 0
    for part in parts:
        rows, width = part.input_ids.shape
        assert int(part.attention_mask.sum(dim=1).max()) == width
        assert part.input_ids.tolist() == batch.input_ids[begin : begin + rows, :width].tolist()
        begin += rows
    single = collate([[Example(0, "deu-Latn", np.array([5, 6]))]], pad_id=PAD)
    assert single.split() == (single,)


def test_a_batch_moves_to_another_device(examples: Examples) -> None:
    moved = next(iter(loader(examples, PACKED))).to("meta")
    for tensor in (
        moved.input_ids,
        moved.attention_mask,
        moved.labels,
        moved.position_ids,
        moved.document_ids,
    ):
        assert tensor is not None and tensor.device.type == "meta"


def test_inputs_of_a_padded_batch_are_plain(examples: Examples) -> None:
    batch = next(iter(loader(examples)))
    assert set(batch.inputs(causal=True)) == {"input_ids", "attention_mask"}
    assert batch.inputs()["attention_mask"] is batch.attention_mask
