from __future__ import annotations

import gzip
import hashlib
import sys
from pathlib import Path

import pytest

from polycompress.corpora import DamagedShardError, Reading, read_shard
from polycompress.errors import InputError, MissingExtraError
from tests.corpora.helpers import shards_of, texts_of, write

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

TEXTS = [f"Zeile {number}" if number % 10 else None for number in range(5000)]
PRESENT = [text for text in TEXTS if text]


def made(path: Path, rows: int = 700, **columns: object) -> Path:
    columns = columns or {"id": list(range(5000)), "text": TEXTS}
    parquet.write_table(pyarrow.table(columns), path, row_group_size=rows)
    return path


@pytest.mark.parametrize("size", [1, 20_000, 1 << 27])
def test_row_groups_are_read_once_and_in_order(tmp_path: Path, size: int) -> None:
    path = made(tmp_path / "a.parquet")
    readers = [read_shard(shard, Reading()) for shard in shards_of([path], size=size)]
    assert [text for reader in readers for text in reader] == PRESENT
    assert sum(reader.dropped["empty"] for reader in readers) == 500
    bounds = [(reader.shard.begin, reader.shard.end) for reader in readers]
    if size == 1:
        assert bounds == [(number, number + 1) for number in range(8)]
    elif size == 20_000:
        assert 1 < len(bounds) < 8
        assert readers[1].provenance()["row_groups"] == list(bounds[1])
    else:
        assert bounds == [(0, None)]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert readers[0].provenance() == {
            "name": "a.parquet",
            "bytes": path.stat().st_size,
            "sha256": digest,
        }


def test_types_that_are_text(tmp_path: Path) -> None:
    words = ["ja", None, "nein\nweiß"]
    for number, kind in enumerate((pyarrow.string(), pyarrow.large_string(), pyarrow.string_view())):
        path = made(tmp_path / f"{number}.parquet", text=pyarrow.array(words, kind))
        assert texts_of(path) == ["ja", "nein", "weiß"]
    path = made(tmp_path / "d.parquet", text=pyarrow.array(words).dictionary_encode())
    assert texts_of(path) == ["ja", "nein", "weiß"]
    assert texts_of(made(tmp_path / "n.parquet", text=pyarrow.nulls(3))) == []


def test_long_values_come_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polycompress.corpora.parquet.MAX_BYTES", 1000)
    texts = [f"{number:03} " + "wort " * 60 for number in range(50)]
    for values in (texts, pyarrow.array(texts).dictionary_encode()):
        path = made(tmp_path / "a.parquet", text=values)
        batches = list(read_shard(shards_of([path])[0], Reading()).batches())
        assert [text for batch in batches for text in batch] == texts
        assert max(map(len, batches)) <= 4


def test_wrong_requests(tmp_path: Path) -> None:
    path = made(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"there is no field 'satz' \(found: id, text\)\. Name the one"):
        texts_of(path, Reading(field="satz"))
    with pytest.raises(InputError, match="the field 'id' holds int64, not text"):
        texts_of(path, Reading(field="id"))
    with pytest.raises(InputError, match=r"not a parquet file \(it does not begin with PAR1\)"):
        texts_of(write(tmp_path / "b.parquet", "text\n"))
    with pytest.raises(InputError, match="a compressed parquet file"):
        texts_of(write(tmp_path / "c.parquet.gz", gzip.compress(path.read_bytes())))
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 2, names=["text", "text"])
    parquet.write_table(table, tmp_path / "d.parquet")
    with pytest.raises(InputError, match="the field 'text' is there 2 times"):
        texts_of(tmp_path / "d.parquet")


def test_cut_off_and_damaged_files(tmp_path: Path) -> None:
    path = made(tmp_path / "a.parquet")
    data = path.read_bytes()
    cut = write(tmp_path / "b.parquet", data[: len(data) // 2])
    for size in (1, 1 << 27):  # finding the shards leaves it to reading them to complain
        (shard,) = shards_of([cut], size=size)
        with pytest.raises(
            DamagedShardError, match=r"b\.parquet: footer: the parquet data are damaged"
        ) as caught:
            list(read_shard(shard, Reading()))
        assert (caught.value.position, caught.value.texts_read) == ("footer", 0)
    third = parquet.ParquetFile(path).metadata.row_group(2).column(1).dictionary_page_offset
    broken = write(tmp_path / "c.parquet", data[: third + 20] + bytes(300) + data[third + 320 :])
    (shard,) = shards_of([broken])
    with pytest.raises(DamagedShardError, match="row group 2, row 0: the parquet data are damaged") as caught:
        list(read_shard(shard, Reading()))
    assert caught.value.texts_read == 2 * 630
    for good in (0, 1, 3):
        assert len(list(read_shard(shards_of([broken], size=1)[good], Reading()))) == 630


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    values = pyarrow.array([b"gut", b"\xff\xfe", b"auch gut"], pyarrow.binary()).view(pyarrow.string())
    path = made(tmp_path / "a.parquet", text=values)
    with pytest.raises(
        DamagedShardError, match=r"row group 0, row 1: .*not UTF-8: invalid start byte"
    ) as caught:
        texts_of(path)
    assert (caught.value.position, caught.value.texts_read) == ("row group 0, row 1", 1)


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'polycompress\[parquet\]'"):
        texts_of(path)
