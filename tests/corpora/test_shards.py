from __future__ import annotations

import gzip
import itertools
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.corpora import (
    DamagedShardError,
    Reading,
    make_shards,
    parse_corpora,
    read_shard,
    whole_shard,
)
from polycompress.corpora.formats import Kind, kind_of
from polycompress.corpora.unpacking import line_range
from polycompress.errors import InputError
from polycompress.languages import find_languages
from tests.corpora.helpers import shards_of, write


@given(
    st.lists(st.sampled_from(["", "a", "bc", "ü你", " ", "\r", "x" * 30]), max_size=12).map("\n".join),
    st.booleans(),
    st.integers(1, 50),
)
def test_whatever_the_cuts_each_line_is_read_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, text: str, ends: bool, size: int
) -> None:
    path = write(tmp_path_factory.mktemp("t") / "a.txt", text + ("\n" if ends else ""))
    whole, reading = whole_shard(path), Reading()
    shards = shards_of([path], reading, size)
    assert len(shards) == max(1, -(-whole.size // size))
    readers = [read_shard(shard, reading) for shard in shards]
    together = [line for reader in readers for line in reader]
    assert together == list(read_shard(whole, reading))
    assert sum(reader.provenance()["bytes"] for reader in readers) == whole.size


@given(st.binary(max_size=60).map(lambda data: data.replace(b"\0", b"\n")), st.lists(st.integers(0, 60)))
def test_ranges_hold_every_byte_once(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, cuts: list[int]
) -> None:
    path = write(tmp_path_factory.mktemp("t") / "a", data)
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    ranges = [list(line_range(path, begin, end)) for begin, end in itertools.pairwise(bounds)]
    blocks = [block for found in ranges for block in found]
    assert b"".join(block for _, block in blocks) == data
    assert all(data[offset : offset + len(block)] == block for offset, block in blocks)
    assert all(
        offset == 0 or data[offset - 1 : offset] == b"\n" for found in ranges for offset, _ in found[:1]
    )


def test_ranges_longer_than_a_block(tmp_path: Path) -> None:
    lines = [f"{number} " + "wort " * (number * 40) for number in range(300)]
    path = write(tmp_path / "a.txt", "\n".join(lines))
    for size in (100_000, 300_001, 1_000_000):
        shards = shards_of([path], size=size)
        assert len(shards) > 1
        assert [line for shard in shards for line in read_shard(shard, Reading())] == lines


def test_what_is_cut_and_what_is_not(tmp_path: Path) -> None:
    text = "eins\nzwei\ndrei\n" * 50
    paths = [
        write(tmp_path / "a.txt", text),
        write(tmp_path / "b.jsonl", '{"text": "ja"}\n' * 50),
        write(tmp_path / "c.txt.gz", gzip.compress(os.urandom(2000).hex().encode())),
        write(tmp_path / "d.txt", gzip.compress(os.urandom(2000).hex().encode())),
        write(tmp_path / "e.csv", "text\n" + text),
        write(tmp_path / "f", "klein\n"),
    ]
    shards = shards_of(paths, size=500)
    assert [(shard.path.name, shard.begin, shard.end) for shard in shards if shard.path] == [
        ("a.txt", 0, 500),
        ("a.txt", 500, 750),
        ("b.jsonl", 0, 500),
        ("b.jsonl", 500, 750),
        ("c.txt.gz", 0, None),
        ("d.txt", 0, None),
        ("e.csv", 0, None),
        ("f", 0, None),
    ]
    assert len({shard.key() for shard in shards}) == len(shards)
    assert pickle.loads(pickle.dumps(shards)) == shards


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", Kind.TEXT),
        ("a", Kind.TEXT),
        ("a.json", Kind.TEXT),
        ("a.gz", Kind.TEXT),
        ("a.jsonl", Kind.JSONL),
        ("a.JSONL.gz", Kind.JSONL),
        ("a.b.ndjson.zst", Kind.JSONL),
        ("a.csv.xz", Kind.CSV),
        ("a.tsv.bz2", Kind.TSV),
        ("a.parquet", Kind.PARQUET),
    ],
)
def test_kinds_by_name(name: str, kind: Kind) -> None:
    assert kind_of(Path("t") / name) is kind


def test_the_key_changes_with_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "eins\n")
    (before,) = shards_of([path])
    os.utime(path, ns=(1, 1))
    (after,) = shards_of([path])
    assert before.key() != after.key()
    with pytest.raises(InputError, match=r"a\.txt: has changed since its shards were cut\. Start again"):
        list(read_shard(before, Reading()))
    assert list(read_shard(after, Reading())) == ["eins"]


def test_shards_of_a_missing_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "eins\n")
    (spec,) = parse_corpora([str(path)], find_languages("de"))
    path.unlink()
    with pytest.raises(InputError, match=r"a\.txt: no such file"):
        make_shards(spec, Reading())


def test_damage_knows_its_shard_and_survives_pickling(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", b"eins\nzwei\n" * 10 + b"dr\xffi\nvier\n")
    *_, before, last = shards_of([path], size=20)
    assert list(read_shard(before, Reading()))
    reader = read_shard(last, Reading())
    got = []
    with pytest.raises(
        DamagedShardError, match=r"a\.txt: byte 102 is not UTF-8 \(invalid start byte\)"
    ) as caught:
        got += list(reader)
    again = pickle.loads(pickle.dumps(caught.value))
    for error in (caught.value, again):
        assert (error.shard, error.position, error.texts_read) == (last, "byte 102", reader.texts_read)
        assert error.exit_code == 2
    assert reader.provenance() == {}
