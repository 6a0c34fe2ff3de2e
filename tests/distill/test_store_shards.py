from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from polycompress.distill.store import text_key
from polycompress.distill.store_kinds import hidden_states
from polycompress.errors import InputError
from tests.distill.store_files import (
    OTHER,
    entry,
    filled,
    keys_of,
    open_store,
    rewrite,
    shards,
    vectors,
)


def test_a_shard_is_plain_safetensors(tmp_path: Path) -> None:
    filled(tmp_path / "s")
    tensors = load_file(shards(tmp_path / "s")[0])
    assert {name: each.shape for name, each in tensors.items()} == {
        "keys": (2, 32),
        "lengths": (2,),
        "vectors": (2, 3),
    }
    assert tensors["keys"][0].tobytes().hex() == text_key("a")


def test_another_teachers_shard_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "s")
    open_store(tmp_path / "t", teacher=OTHER).put(keys_of("z"), vectors(1))
    foreign = shards(tmp_path / "t")[0]
    foreign.rename(tmp_path / "s" / foreign.name)
    with pytest.raises(InputError, match=f"was not written to this store .*teacher {OTHER}"):
        open_store(tmp_path / "s")


@given(st.data())
def test_any_truncation_is_refused_and_says_what_to_do(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "s"
    filled(path)
    shard = shards(path)[0]
    raw = shard.read_bytes()
    shard.write_bytes(raw[: data.draw(st.integers(0, len(raw) - 1))])
    with pytest.raises(InputError, match="remove it: its texts will be computed again") as caught:
        open_store(path)
    assert str(shard) in str(caught.value)


@given(st.data())
def test_any_changed_byte_is_refused_or_changes_one_value(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("flip") / "s"
    filled(path)
    shard = shards(path)[0]
    raw = bytearray(shard.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    shard.write_bytes(raw)
    try:
        store = open_store(path)
        found = store.get([key for key in keys_of("a", "b", "c") if key in store])
    except InputError:
        return
    assert all(np.isfinite(each).all() for each in found["vectors"])


# A shard of two texts: lengths 0-16, keys 16-80, vectors 80-104.
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"vectors": entry("F32", [3, 2], 80, 104)},
            r"'vectors' is F32 of shape \[3, 2\], not F32 of shape \[..., 3\]",
        ),
        ({"vectors": entry("I32", [2, 3], 80, 104)}, "'vectors' is I32"),
        ({"vectors": entry("F32", [1, 2, 3], 80, 104)}, r"'vectors' is F32 of shape \[1, 2, 3\]"),
        ({"vectors": entry("F32", [2, 3], 80, 108)}, "reach beyond the 104 bytes of data"),
        ({"keys": entry("U8", [4, 16], 16, 80)}, r"'keys' is U8 of shape \[4, 16\]"),
        ({"keys": entry("U8", [64], 16, 80)}, r"'keys' is U8 of shape \[64\]"),
        ({"lengths": entry("I64", [], 0, 8), "more": entry("I64", [1], 8, 16)}, "holds the tensors .*'more'"),
        ({"lengths": entry("I32", [4], 0, 16)}, "'lengths' is I32"),
        ({"lengths": entry("I64", [1, 2], 0, 16)}, r"'lengths' is I64 of shape \[1, 2\]"),
        ({"__metadata__": None}, "was not written to this store .it says: nothing."),
        ({"__metadata__": {"teacher": OTHER}}, f"it says: teacher {OTHER}"),
    ],
)
def test_shapes_that_cannot_be_are_refused(tmp_path: Path, change: Mapping[str, Any], message: str) -> None:
    filled(tmp_path / "s")
    shard = shards(tmp_path / "s")[0]
    rewrite(shard, change)
    with pytest.raises(InputError, match=message) as caught:
        open_store(tmp_path / "s")
    assert str(shard) in str(caught.value)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ((1, 2), "'lengths' are not 1 each"),
        ((-1, 3), "'lengths' holds numbers of rows outside 0 to 2"),
        ((2**62, 2**62), "outside 0 to 2"),
    ],
)
def test_lengths_that_cannot_be_are_refused(tmp_path: Path, lengths: tuple[int, int], message: str) -> None:
    filled(tmp_path / "s")
    shard = shards(tmp_path / "s")[0]
    raw = shard.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    shard.write_bytes(raw[:start] + struct.pack("<2q", *lengths) + raw[start + 16 :])
    with pytest.raises(InputError, match=message):
        open_store(tmp_path / "s")


def test_lengths_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    kind = hidden_states([1], 2)
    open_store(tmp_path / "s", kind).put(keys_of("a"), {"hidden.1": [np.zeros((3, 2), np.float16)]})
    shard = shards(tmp_path / "s")[0]
    raw = shard.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    shard.write_bytes(raw[:start] + struct.pack("<q", 2) + raw[start + 8 :])
    with pytest.raises(InputError, match=r"'hidden\.1' has 3 rows, but the texts have 2"):
        open_store(tmp_path / "s", kind)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused_both_ways(tmp_path: Path, bad: float) -> None:
    store = filled(tmp_path / "s")
    with pytest.raises(InputError, match=r"text 0 \(.*\): 'vectors' holds NaN or infinity"):
        store.put(keys_of("x"), {"vectors": [np.array([0.0, bad, 0.0])]})
    shard = shards(tmp_path / "s")[0]
    raw = shard.read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    place = start + 16 + 64 + 12  # the second text's first value
    shard.write_bytes(raw[:place] + struct.pack("<f", bad) + raw[place + 4 :])
    store = open_store(tmp_path / "s")
    store.get(keys_of("a"))
    with pytest.raises(InputError, match="text 1: 'vectors' holds NaN or infinity"):
        store.get(keys_of("b"))


def test_a_huge_header_and_a_huge_file_are_refused_unread(tmp_path: Path) -> None:
    filled(tmp_path / "s")
    shard = shards(tmp_path / "s")[0]
    shard.write_bytes(struct.pack("<Q", 1 << 40) + b"{}")
    with pytest.raises(InputError, match="header length 1099511627776 is over the limit"):
        open_store(tmp_path / "s")
    with shard.open("wb") as file:
        file.truncate((1 << 31) + 1)  # sparse: takes no space
    with pytest.raises(InputError, match="2147483649 bytes are over the limit of 2147483648"):
        open_store(tmp_path / "s")


def test_more_texts_than_can_be_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path / "s")
    monkeypatch.setattr("polycompress.distill.store_shards.MAX_TEXTS", 1)
    with pytest.raises(InputError, match=r"2 keys .* at most 1 texts"):
        open_store(tmp_path / "s")
    with pytest.raises(
        InputError, match=r"2 texts of 24 bytes are more than a shard holds .* Put fewer at a time"
    ):
        open_store(tmp_path / "t").put(keys_of("a", "b"), vectors(2))
