from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file

from polycompress.distill.store import INDEX, TeacherStore, ids_key, text_key
from polycompress.distill.store_kinds import Kind, hidden_states, sentence_vectors, top_k_logits
from polycompress.distill.top_k import TopK, from_top_k, make_top_k
from polycompress.errors import InputError, StorageError
from tests.distill.store_files import (
    OTHER,
    TEACHER,
    VECTORS,
    Arrays,
    filled,
    keys_of,
    open_store,
    shards,
    vectors,
)


def arrays_for(kind: Kind, lengths: Sequence[int], seed: int) -> Arrays:
    random = np.random.default_rng(seed)
    if kind.name == "sentence-vectors":
        width = kind.fields["vectors"].shape[0]
        return {"vectors": [random.normal(size=width).astype(np.float32) for _ in lengths]}
    if kind.name == "hidden-states":
        return {
            name: [random.normal(size=(length, *field.shape)).astype(np.float16) for length in lengths]
            for name, field in kind.fields.items()
        }
    kept = [
        make_top_k(random.normal(size=(length, kind.classes)), kind.fields["ids"].shape[0])
        for length in lengths
    ]
    return {name: [getattr(each, name) for each in kept] for name in kind.fields}


kinds = st.one_of(
    st.builds(sentence_vectors, st.integers(1, 5)),
    st.builds(
        hidden_states, st.lists(st.integers(0, 12), min_size=1, max_size=3, unique=True), st.integers(1, 5)
    ),
    st.integers(1, 9).flatmap(
        lambda classes: st.builds(top_k_logits, st.integers(1, classes), st.just(classes))
    ),
)


@given(kinds, st.lists(st.lists(st.integers(0, 6), max_size=5), max_size=4), st.integers(0, 10**6))
def test_what_was_put_comes_back_in_any_order_and_after_reopening(
    tmp_path_factory: pytest.TempPathFactory, kind: Kind, puts: list[list[int]], seed: int
) -> None:
    path = tmp_path_factory.mktemp("round") / "store"
    store = open_store(path, kind)
    wanted: dict[str, dict[str, NDArray[Any]]] = {}
    for number, lengths in enumerate(puts):
        keys = [text_key(f"{number} {at}") for at in range(len(lengths))]
        arrays = arrays_for(kind, lengths, seed + number)
        assert store.missing(keys) == keys
        store.put(keys, arrays)
        wanted |= {key: {name: arrays[name][at] for name in arrays} for at, key in enumerate(keys)}
    asked = sorted(wanted, reverse=True)
    for each in (store, open_store(path, kind)):
        assert len(each) == len(wanted)
        assert each.missing([*asked, "0" * 64]) == ["0" * 64]
        found = each.get(asked)
        assert set(found) == set(kind.fields)
        for name in kind.fields:
            for key, array in zip(asked, found[name], strict=True):
                assert array.dtype == wanted[key][name].dtype
                assert np.array_equal(array, wanted[key][name])


def test_top_k_of_all_classes_comes_back_as_the_teachers_distribution(tmp_path: Path) -> None:
    logits = np.random.default_rng(0).normal(size=(4, 6))
    kept = make_top_k(logits, 6)
    store = open_store(tmp_path / "s", top_k_logits(6, 6))
    store.put(keys_of("a"), {"ids": [kept.ids], "log_probs": [kept.log_probs], "tail": [kept.tail]})
    found = store.get(keys_of("a"))
    again = from_top_k(TopK(found["ids"][0], found["log_probs"][0], found["tail"][0]), 6)
    np.testing.assert_allclose(
        np.exp(again), np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), rtol=1e-5
    )


def test_texts_that_are_there_are_not_written_again(tmp_path: Path) -> None:
    store = filled(tmp_path / "s")
    before = store.get(keys_of("a"))["vectors"][0]
    count = len(shards(tmp_path / "s"))
    store.put(keys_of("b", "a"), vectors(2, seed=9))
    assert len(shards(tmp_path / "s")) == count
    store.put(keys_of("a", "d", "d"), vectors(3, seed=9))
    assert len(store) == 4
    assert np.array_equal(store.get(keys_of("a"))["vectors"][0], before)
    assert text_key("d") in store
    assert load_file(shards(tmp_path / "s")[-1])["keys"].shape == (1, 32)


def test_keys_tell_texts_and_tokens_apart() -> None:
    assert len({text_key("a"), text_key("b"), text_key(""), ids_key([]), ids_key([0]), ids_key([0, 0])}) == 6
    assert ids_key([1, 2]) == ids_key(np.array([1, 2], dtype=np.int32))
    assert text_key("\ud800") != text_key("?")
    with pytest.raises(InputError, match="'a' is no key of a text"):
        open_store(Path("nowhere")).missing(["a"])


def test_another_teachers_store_is_refused_and_the_message_says_which(tmp_path: Path) -> None:
    filled(tmp_path / "s")
    with pytest.raises(InputError, match=f"of another teacher: {TEACHER} there, {OTHER} now"):
        open_store(tmp_path / "s", teacher=OTHER)
    with pytest.raises(
        InputError, match=r"something else of this teacher .*kind is .*sentence-vectors.* there"
    ):
        open_store(tmp_path / "s", sentence_vectors(4))
    with pytest.raises(InputError, match=r'settings is \{\} there, \{"max_length": 128\} now'):
        TeacherStore(tmp_path / "s", TEACHER, VECTORS, {"max_length": 128})
    with pytest.raises(InputError, match="'abc' is no SHA-256"):
        open_store(tmp_path / "s", teacher="abc")


def test_two_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    first, second = open_store(tmp_path / "s"), open_store(tmp_path / "s")
    first.put(keys_of("a"), vectors(1))
    second.put(keys_of("a", "b"), vectors(2))
    assert len(open_store(tmp_path / "s")) == 2
    third = open_store(tmp_path / "u")
    filled(tmp_path / "u")
    with pytest.raises(InputError, match="of another teacher"):
        late = open_store(tmp_path / "v", teacher=OTHER)
        filled(tmp_path / "v")
        late.put(keys_of("x"), vectors(1))
    third.put(keys_of("x"), vectors(1))
    assert len(open_store(tmp_path / "u")) == 4


def test_a_put_that_was_killed_leaves_the_older_shards(tmp_path: Path) -> None:
    path = tmp_path / "s"
    filled(path)
    whole = shards(path)[0].read_bytes()
    # Work in progress of a dead process, under the hidden name that atomic files have while they are written.
    partial = path / f".shard-000002-00.safetensors.polycompress-00000000-1-1-{'0' * 8}"
    partial.write_bytes(whole[: len(whole) // 2])
    store = open_store(path)
    assert store.missing(keys_of("a", "b", "c", "d")) == keys_of("d")
    assert np.array_equal(store.get(keys_of("b"))["vectors"][0], vectors(2)["vectors"][1])
    store.put(keys_of("d"), vectors(1))
    assert len(open_store(path)) == 4


def test_a_kill_before_the_first_shard_leaves_a_store_without_texts(tmp_path: Path) -> None:
    path = tmp_path / "s"
    filled(path)
    for shard in shards(path):
        shard.unlink()
    store = open_store(path)
    assert len(store) == 0
    store.put(keys_of("a"), vectors(1))
    assert len(open_store(path)) == 1


def test_a_disk_that_refuses_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path / "s")
    names = {each.name for each in (tmp_path / "s").iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="the disk is full"):
        store.put(keys_of("d"), vectors(1))
    assert {each.name for each in (tmp_path / "s").iterdir()} == names
    assert text_key("d") not in store


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    store = TeacherStore(tmp_path / "file" / "below", TEACHER, sentence_vectors(2))
    with pytest.raises(StorageError, match="below: could not be written"):
        store.put([text_key("a")], {"vectors": [np.zeros(2, np.float32)]})


def test_a_removed_shard_is_computed_again(tmp_path: Path) -> None:
    filled(tmp_path / "s")
    shards(tmp_path / "s")[0].unlink()
    store = open_store(tmp_path / "s")
    assert store.missing(keys_of("a", "b", "c")) == keys_of("a", "b")
    with pytest.raises(
        InputError, match=r"2 of 3 texts are not in the store \(.* is one\)\. Compute them first"
    ):
        store.get(keys_of("a", "b", "c"))


def test_links_and_directories_that_are_no_store_are_refused(tmp_path: Path) -> None:
    filled(tmp_path / "s")
    shard = shards(tmp_path / "s")[0]
    outside = shard.rename(tmp_path / "elsewhere.safetensors")
    shard.symlink_to(outside)
    with pytest.raises(InputError, match="is a link"):
        open_store(tmp_path / "s")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"is a file\. Give a directory"):
        open_store(tmp_path / "file")
    with pytest.raises(InputError, match=f"has no {INDEX}, so it is no store, and is not empty"):
        open_store(tmp_path)
    (tmp_path / "empty").mkdir()
    assert len(open_store(tmp_path / "empty")) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "a JSON list, not an object"),
        ("{}", "names no teacher"),
        (" " * (2 << 20), "over the limit"),
    ],
)
def test_a_broken_index_is_refused(tmp_path: Path, content: str, message: str) -> None:
    filled(tmp_path / "s")
    (tmp_path / "s" / INDEX).write_text(content)
    with pytest.raises(InputError, match=message):
        open_store(tmp_path / "s")
