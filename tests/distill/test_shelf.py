"""What a teacher said, kept and put together again."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polycompress.distill.kept import as_outputs
from polycompress.distill.objectives.sentence import mean_pool
from polycompress.distill.outputs import Needs, Outputs
from polycompress.distill.shelf import Answers, Shelf, Wanted, rows_of
from polycompress.distill.store import ids_key
from polycompress.errors import InputError

TEACHER = "1a" * 32
D, C = 3, 4


def shelf_of(root: Path, wanted: Wanted, teacher: str = TEACHER) -> Shelf:
    return Shelf(root, teacher, wanted, width=D, classes=C, settings={"precision": "fp32"})


def said_of(
    lengths: list[int], answers: Answers | None, layers: set[int], seed: int
) -> tuple[Outputs, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    width = max(lengths) + 1
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    hidden = {layer: torch.randn(len(lengths), width, D, generator=random) for layer in layers}
    shapes = {"sequence": (C,), "token": (width, C), "span": (2, width), "vocabulary": (width, C)}
    logits = None
    if answers is not None:
        logits = torch.randn(len(lengths), *shapes[answers], generator=random)
        if answers == "span":
            logits = logits.masked_fill(~mask[:, None], -torch.inf)
    return Outputs(hidden=hidden, logits=logits), mask


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=5),
    st.sampled_from([None, *get_args(Answers)]),
    st.sets(st.integers(0, 3), max_size=3),
    st.sampled_from([None, 2]),
    st.integers(0, 10**6),
)
def test_what_was_said_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[int],
    answers: Answers | None,
    layers: set[int],
    vector: int | None,
    seed: int,
) -> None:
    wanted = Wanted(hidden=frozenset(layers), vector=vector, answers=answers, top=C)
    root = tmp_path_factory.mktemp("shelf")
    if not layers and vector is None and answers is None:
        with pytest.raises(InputError, match="asks anything of a teacher that could be kept"):
            shelf_of(root, wanted)
        return
    said, mask = said_of(lengths, answers, layers | ({vector} if vector is not None else set()), seed)
    keys = [ids_key([seed, number]) for number in range(len(lengths))]
    shelf = shelf_of(root, wanted)
    assert shelf.missing(keys) == keys
    shelf.put(keys, rows_of(wanted, said, mask))
    shelf = shelf_of(root, wanted)
    assert shelf.missing(keys) == []
    order = list(np.random.default_rng(seed).permutation(len(keys)))
    told = as_outputs(
        shelf.get([keys[place] for place in order], [lengths[place] for place in order], mask.shape[1])
    )
    mask = mask[order]
    for layer in layers:
        wanted_states = said.hidden[layer][order].half().float().masked_fill(~mask[..., None], 0.0)
        assert torch.equal(told.hidden[layer], wanted_states)
    assert told.hidden.keys() == layers
    if vector is not None:
        assert told.vectors is not None
        assert torch.equal(told.vectors, mean_pool(said.hidden[vector][order], mask))
    if answers is not None:
        assert said.logits is not None and told.logits is not None
        logits = said.logits[order]
        if answers == "vocabulary":
            torch.testing.assert_close(told.logits[mask], torch.log_softmax(logits, -1)[mask])
            return
        if answers == "token":
            logits = logits.masked_fill(~mask[..., None], 0.0)
        assert torch.equal(told.logits, logits)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.integers(1, C), st.integers(0, 10**6))
def test_of_a_vocabulary_the_likeliest_are_exact_and_the_rest_shares_its_mass(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], top: int, seed: int
) -> None:
    wanted = Wanted(answers="vocabulary", top=top)
    said, mask = said_of(lengths, "vocabulary", set(), seed)
    assert said.logits is not None
    keys = [ids_key([seed, number]) for number in range(len(lengths))]
    shelf = shelf_of(tmp_path_factory.mktemp("shelf"), wanted)
    shelf.put(keys, rows_of(wanted, said, mask))
    kept = shelf.get(keys, lengths, mask.shape[1])
    places = mask.flatten().nonzero().squeeze(1)
    told = as_outputs(kept, places).logits
    assert told is not None
    assert told.shape == (sum(lengths), C)
    true = torch.log_softmax(said.logits, -1)[mask]
    best = true.topk(top, dim=-1).indices
    torch.testing.assert_close(told.gather(-1, best), true.gather(-1, best))
    torch.testing.assert_close(told.exp().sum(-1), torch.ones(len(places)))
    others = told.scatter(-1, best, torch.nan)
    spread = others[~others.isnan()].view(len(places), C - top)
    assert (spread == spread[:, :1]).all()
    whole = as_outputs(kept).logits
    assert whole is not None and torch.equal(whole[mask], told)


def test_what_a_sure_teacher_leaves_out_is_unlikely_not_impossible(tmp_path: Path) -> None:
    """Of an infinite logarithm a loss, or its gradient, would be none."""
    said = Outputs(hidden={}, logits=torch.tensor([[[500.0, 0.0, 0.0, -300.0]]]))
    shelf = shelf_of(tmp_path, wanted := Wanted(answers="vocabulary", top=1))
    shelf.put([ids_key([1])], rows_of(wanted, said, torch.ones(1, 1, dtype=torch.bool)))
    told = as_outputs(shelf.get([ids_key([1])], [1], 1)).logits
    assert told is not None and told.isfinite().all() and told.argmax() == 0


def test_a_text_is_missing_where_one_thing_of_it_is(tmp_path: Path) -> None:
    said, mask = said_of([2, 3], "sequence", {1, 2}, 0)
    keys = [ids_key([1]), ids_key([2])]
    first = Wanted(hidden=frozenset({1}))
    shelf_of(tmp_path, first).put(keys, rows_of(first, said, mask))
    both = Wanted(hidden=frozenset({1, 2}))
    shelf = shelf_of(tmp_path, both)
    assert shelf.missing(keys) == keys
    shelf.put(keys[:1], rows_of(both, said, mask)[:1])
    assert shelf.missing([*keys, keys[1]]) == keys[1:]
    assert shelf_of(tmp_path, first).missing(keys) == [], "each state has a store of its own"
    assert shelf_of(tmp_path, first, "2b" * 32).missing(keys) == keys, "and each teacher"
    with pytest.raises(InputError, match="1 of 2 texts are not in the store"):
        shelf.get(keys, [2, 3], 4)


@pytest.mark.parametrize("kept", [2, 5])
def test_a_text_of_another_length_is_no_answer(tmp_path: Path, kept: int) -> None:
    """Neither may its end be filled with zeros, as padding is, nor may what is too long go on from there."""
    wanted = Wanted(hidden=frozenset({1}))
    said, mask = said_of([kept], None, {1}, 0)
    shelf = shelf_of(tmp_path, wanted)
    shelf.put([ids_key([1])], rows_of(wanted, said, mask))
    assert shelf.get([ids_key([1])], [kept], 6)["hidden.1"].shape == (1, 6, D)
    with pytest.raises(InputError, match=f"keeps {kept} tokens of a text that has 4 .*: it is damaged"):
        shelf.get([ids_key([1])], [4], 4)


def test_what_a_teacher_has_to_show() -> None:
    wanted = Wanted(hidden=frozenset({1}), vector=4, answers="token")
    assert wanted.needs == Needs(hidden=frozenset({1, 4}), logits=True)


def test_states_beyond_half_precision(tmp_path: Path) -> None:
    wanted = Wanted(hidden=frozenset({1}))
    said = Outputs(hidden={1: torch.full((1, 2, D), 1e6)})
    rows = rows_of(wanted, said, torch.ones(1, 2, dtype=torch.bool))
    with pytest.raises(InputError, match=r"NaN or infinity"):
        shelf_of(tmp_path, wanted).put([ids_key([1])], rows)
