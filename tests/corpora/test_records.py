from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.corpora import DamagedShardError, Reading, read_shard
from polycompress.corpora.lines import with_text
from polycompress.errors import InputError
from tests.corpora.helpers import PACKERS, shards_of, texts_of, write

VALUES = st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=12)


def expected(values: list[str | None]) -> list[str]:
    lines = (line.removesuffix("\r") for value in values if value is not None for line in value.split("\n"))
    return with_text(list(lines))


@given(VALUES, st.booleans(), st.integers(1, 200))
def test_jsonl_whatever_the_cuts(
    tmp_path_factory: pytest.TempPathFactory, values: list[str | None], ascii_only: bool, size: int
) -> None:
    records = (json.dumps({"id": 1, "text": value}, ensure_ascii=ascii_only) for value in values)
    path = write(tmp_path_factory.mktemp("t") / "a.jsonl", "".join(f"{record}\n" for record in records))
    got = [text for shard in shards_of([path], size=size) for text in read_shard(shard, Reading())]
    assert got == expected(values)


@given(VALUES.map(lambda values: [(value or "").replace("\r", "") for value in values]))
def test_csv_that_the_csv_module_wrote(tmp_path_factory: pytest.TempPathFactory, values: list[str]) -> None:
    made = io.StringIO()
    writer = csv.writer(made)
    writer.writerow(["id", "text"])
    writer.writerows(enumerate(value.replace("\0", "") for value in values))
    path = write(tmp_path_factory.mktemp("t") / "a.csv", made.getvalue())
    assert texts_of(path) == expected([value.replace("\0", "") for value in values])


@pytest.mark.parametrize("kind", PACKERS)
def test_packed_structured_files(tmp_path: Path, kind: str) -> None:
    pack = PACKERS[kind]
    end = "" if kind == "txt" else f".{kind}"
    table = 'nr,satz\n1,"Ja, ""gut"""\n\n2,Nein\n'
    assert texts_of(write(tmp_path / f"a.csv{end}", pack(table.encode())), Reading(field="satz")) == [
        'Ja, "gut"',
        "Nein",
    ]
    lines = '{"satz": "Ja\\nNein"}\n\n{"satz": null}\n{"satz": ""}'
    path = write(tmp_path / f"a.ndjson{end}", pack(lines.encode()))
    reader = read_shard(shards_of([path])[0], Reading(field="satz"))
    assert list(reader) == ["Ja", "Nein"]
    assert reader.dropped == {"empty": 2}
    assert set(reader.provenance()) == {"name", "bytes", "sha256"}


def test_quotes_in_tsv_are_characters(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", '\ufeffid\ttext\r\n1\t"Ja" sagte er\r\n2\t5" breit\r\n')
    assert texts_of(path) == ['"Ja" sagte er', '5" breit']


def test_many_rows_come_in_batches(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text\n" + "".join(f"Zeile {number}\n" for number in range(5000)))
    batches = list(read_shard(shards_of([path])[0], Reading()).batches())
    assert [text for batch in batches for text in batch] == [f"Zeile {number}" for number in range(5000)]
    assert max(map(len, batches)) <= 1024


def test_a_long_field_is_read_and_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f'text\n"{"wort " * 500_000}"\n')
    texts = texts_of(path)
    assert len(texts) == 3
    assert "".join(texts) == "wort " * 500_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.jsonl",
            '{"a": "x", "b": 1}\n',
            r"line 1: there is no field 'text' \(found: a, b\)\. Name the one",
        ),
        ("a.jsonl", "{}\n", r"line 1: there is no field 'text' \(found: none\)"),
        (
            "a.csv",
            "a,b\n1,2\n",
            r"a\.csv: there is no field 'text' \(found: a, b\)\. Name the one .* --field",
        ),
        ("a.csv", "", r"there is no field 'text' \(found: none\)"),
        ("a.csv", "text,text\n1,2\n", "the field 'text' is there 2 times"),
        ("a.tsv", "a\tb\n1\t2\n", r"there is no field 'text' \(found: a, b\)"),
        ("a.jsonl", json.dumps({f"feld{n}": 1 for n in range(30)}), r"feld10, feld11, \.\.\.\)"),
        ("a.jsonl", b"\x00\x01\x02" * 50, "byte 0 is zero: it is not a text file"),
    ],
)
def test_wrong_fields(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        texts_of(write(tmp_path / name, content))
    assert not isinstance(caught.value, DamagedShardError)


@pytest.mark.parametrize(
    ("name", "content", "read", "position", "message"),
    [
        ("a.jsonl", '{"text": "a"}\n\n{"te', 1, "line 3", r"line 3: is not JSON \(Unterminated string"),
        ("a.jsonl", '{"text": "a"}\n[1]\n', 1, "line 2", "is a JSON list, not an object with fields"),
        ("a.jsonl", '{"text": "a"}\n"b"\n', 1, "line 2", "is a JSON string, not an object"),
        ("a.jsonl", '{"text": "a"}\n{"x": 1}\n', 1, "line 2", r"there is no field 'text' \(found: x\)"),
        (
            "a.jsonl",
            '{"text": "a"}\n{"text": 5}\n',
            1,
            "line 2",
            "has a number, not text in the field 'text'",
        ),
        ("a.jsonl", '{"text": "a"}\n{"text": "\\ud800"}\n', 1, "line 2", "half a surrogate pair"),
        ("a.jsonl", "[" * 100_000, 0, "line 1", "is not JSON"),
        ("a.jsonl", '{"text": 1' + "0" * 5000 + "}", 0, "line 1", "is not JSON"),
        ("a.csv", "id,text\n1,a\n2,b,c\n", 1, "line 3", "has 3 cells, but there are 2 columns"),
        ("a.csv", "id,text\n1,a\n2\n", 1, "line 3", "has 1 cells, but there are 2 columns"),
        ("a.csv", 'text\na\n"b\nc\n', 1, "line 4", "unexpected end of data"),
        ("a.csv", 'text\na\n"b"c\n', 1, "line 3", "',' expected after '\"'"),
        ("a.csv", "text\na\rb\n", 0, "line 2", "new-line character"),
        ("a.tsv", "id\ttext\n1\ta\n2\n", 1, "line 3", "has 1 cells"),
        ("a.csv", b"text\na\n\xff\n", 1, "byte 7", "byte 7 is not UTF-8"),
    ],
)
def test_damaged_records(
    tmp_path: Path, name: str, content: str | bytes, read: int, position: str, message: str
) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(DamagedShardError, match=message) as caught:
        texts_of(path)
    assert str(caught.value).startswith(str(path))
    assert (caught.value.position, caught.value.texts_read) == (position, read)


def test_line_numbers_are_those_of_the_file_in_every_shard(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"Zeile {number}"}) for number in range(500)]
    lines[431] = "{"
    path = write(tmp_path / "a.jsonl", "\n".join(lines))
    for size in (1000, 4000, 1 << 27):
        with pytest.raises(DamagedShardError, match="line 432: is not JSON"):
            for shard in shards_of([path], size=size):
                list(read_shard(shard, Reading()))


def test_a_field_that_is_too_long_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = csv.field_size_limit()
    monkeypatch.setattr("polycompress.corpora.records.MAX_RECORD", 100)
    try:
        with pytest.raises(DamagedShardError, match=r"line 3: field larger than field limit \(100\)"):
            texts_of(write(tmp_path / "a.csv", "text\nkurz\n" + "x" * 101))
    finally:
        csv.field_size_limit(before)


def test_tables_of_the_data_pack(data_dir: Path) -> None:
    texts = texts_of(data_dir / "sib200" / "swh_Latn.tsv.gz")
    assert len(texts) == 1004
    assert len(set(texts)) > 990
