from __future__ import annotations

import json
import random
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.corpora import DamagedShardError, Reading, Shard, find_duplicates, read_shard
from polycompress.corpora import duplicates as module
from polycompress.errors import StorageError
from tests.corpora.helpers import shards_of, write


def kept(shards: tuple[Shard, ...], reading: Reading, work: Path, **options: object) -> list[str]:
    found = find_duplicates(shards, reading, work, **options)  # type: ignore[arg-type]
    assert list(found) == [shard.key() for shard in shards]
    return [text for shard in shards for text in read_shard(shard, reading, found[shard.key()])]


@given(
    st.lists(
        st.lists(st.sampled_from(["a", "b", "cc", "ü", "", "d e"]), max_size=25), min_size=1, max_size=4
    ),
    st.integers(1, 40),
    st.integers(1, 9),
    st.integers(1, 12),
)
def test_the_first_of_each_text_is_kept_whatever_the_parts(
    tmp_path_factory: pytest.TempPathFactory, files: list[list[str]], size: int, partitions: int, segment: int
) -> None:
    root = tmp_path_factory.mktemp("t")
    paths = [write(root / f"{number}.txt", "\n".join(lines)) for number, lines in enumerate(files)]
    shards, reading = shards_of(paths, size=size), Reading()
    texts = [text for lines in files for text in lines if text]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SEGMENT", segment)
        assert kept(shards, reading, root / "w", partitions=partitions) == list(dict.fromkeys(texts))
    backwards = kept(shards[::-1], reading, root / "v")
    assert sorted(backwards) == sorted(set(texts))


def test_other_processes_in_another_order_find_the_same(tmp_path: Path) -> None:
    draw = random.Random(0)
    paths = [
        write(tmp_path / f"{number}.txt", "".join(f"Zeile {draw.randrange(3000)}\n" for _ in range(2000)))
        for number in range(4)
    ]
    shards, reading = shards_of(paths, size=7000), Reading(cleaning=("nfc",), sample=0.8)

    def shuffled(function, items):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        items = list(items)
        order = draw.sample(range(len(items)), len(items))
        results = {number: function(items[number]) for number in order}
        return [results[number] for number in range(len(items))]

    expected = kept(shards, reading, tmp_path / "a")
    assert len(expected) == len(set(expected))
    assert kept(shards, reading, tmp_path / "b", run=shuffled, partitions=5) == expected
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert kept(shards, reading, tmp_path / "c", run=pool.map, partitions=3) == expected


def test_texts_are_compared_after_cleaning_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in ["a  b", "a b", "", "c"])
    )
    (shard,) = shards_of([path])
    assert kept((shard,), Reading(), tmp_path / "v") == ["a  b", "a b", "c"]
    reading = Reading(cleaning=("collapse",))
    found = find_duplicates([shard], reading, tmp_path / "w")
    assert found[shard.key()].tolist() == [1]
    reader = read_shard(shard, reading, found[shard.key()])
    assert list(reader) == ["a b", "c"]
    assert reader.dropped == {"empty": 1, "duplicate": 1}
    with pytest.raises(KeyError):
        found["?"]


def test_damaged_shards_are_no_first_occurrences(tmp_path: Path) -> None:
    bad = write(tmp_path / "a.txt", b"eins\nzwei\n\xff\n")
    good = write(tmp_path / "b.txt", "zwei\nzwei\ndrei\n")
    shards = shards_of([bad, good])
    with pytest.raises(DamagedShardError, match=r"a\.txt: byte 10 is not UTF-8") as caught:
        find_duplicates(shards, Reading(), tmp_path / "w")
    assert (caught.value.shard, caught.value.texts_read) == (shards[0], 2)
    found = find_duplicates(shards, Reading(), tmp_path / "w", skip_bad=True)
    assert list(found.damaged) == [shards[0].key()]
    assert [found[shard.key()].tolist() for shard in shards] == [[], [1]]


def test_what_an_interrupted_call_has_read_is_not_read_again(tmp_path: Path) -> None:
    shards = shards_of([write(tmp_path / f"{name}.txt", "eins\nzwei\n") for name in "abc"])
    module.hash_shard(shards[0], reading=Reading(), work=made(tmp_path / "w"))
    read: list[str] = []
    found = find_duplicates(shards, Reading(), tmp_path / "w", progress=lambda shard: read.append(shard.name))
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "w" / "hashes").iterdir()}
    assert len(read) == 3
    again = find_duplicates(shards, Reading(), tmp_path / "w")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "w" / "hashes").iterdir()} == written
    for shard, skip in zip(shards, [[], [0, 1], [0, 1]], strict=True):
        assert found[shard.key()].tolist() == again[shard.key()].tolist() == skip
    assert find_duplicates(shards, Reading(sample=0.5), tmp_path / "w")


def made(work: Path) -> Path:
    (work / "hashes").mkdir(parents=True)
    return work


def test_no_text_at_all(tmp_path: Path) -> None:
    shards = shards_of([write(tmp_path / "a.txt", "\n")])
    assert find_duplicates(shards, Reading(), tmp_path / "w")[shards[0].key()].tolist() == []
    assert dict(find_duplicates((), Reading(), tmp_path / "w")) == {}


def test_a_work_directory_that_cannot_be_made(tmp_path: Path) -> None:
    shards = shards_of([write(tmp_path / "a.txt", "ja\n")])
    with pytest.raises(StorageError, match=r"a\.txt: writing hashes failed \(.*\)\. Name a place with room"):
        find_duplicates(shards, Reading(), tmp_path / "a.txt")
