"""Sentences and their translations, out of one file or two."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.corpora import PairSpec, parse_pairs, read_pairs
from polycompress.errors import InputError
from polycompress.languages import find_language

ENGLISH, SWAHILI = find_language("en"), find_language("sw")
BOTH = (ENGLISH, SWAHILI)
SIDES = st.text(st.characters(exclude_characters="\t\n\r", exclude_categories=("Cs", "Cc")), max_size=9)


def spec_of(path: Path, *more: Path) -> PairSpec:
    return PairSpec(ENGLISH, SWAHILI, str(path), ((path, *more),))


def written(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@given(st.lists(st.tuples(SIDES, SIDES), max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_what_was_written_is_read_but_for_empty_sides(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]], end: str, packed: bool
) -> None:
    root = tmp_path_factory.mktemp("pairs")
    name = "pairs.tsv.gz" if packed else "pairs.tsv"
    path = written(root / name, "".join(f"{one}\t{other}{end}" for one, other in [("x", "y"), *pairs]))
    wanted = [("x", "y")] + [(one.strip(), other.strip()) for one, other in pairs]
    wanted = [pair for pair in wanted if all(pair)]
    assert list(read_pairs(spec_of(path))) == wanted
    first = written(root / "one", "".join(f"{one}{end}" for one, _ in [("x", "y"), *pairs]))
    second = written(root / "two", "".join(f"{other}{end}" for _, other in [("x", "y"), *pairs]))
    assert list(read_pairs(spec_of(first, second))) == wanted


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("", ("a", "b")),
        ("eng\tswh\n", ("a", "b")),
        ("Swahili\tEnglish\n", ("b", "a")),
        ("eng\tdeu\n", ("eng", "deu")),
    ],
)
def test_a_header_says_which_column_is_which(tmp_path: Path, header: str, wanted: tuple[str, str]) -> None:
    path = written(tmp_path / "pairs.tsv", header + "a\tb\n")
    assert next(read_pairs(spec_of(path))) == wanted


def test_names_and_files(tmp_path: Path) -> None:
    for name in ("a.tsv", "b.tsv", "one", "two", "c+d.tsv"):
        written(tmp_path / name, "x\ty\n")
    parsed = parse_pairs(
        [f"en-sw={tmp_path}/[ab].tsv", f"swh-Latn-eng={tmp_path}/one+{tmp_path}/two", f"en-sw={tmp_path}/c+d.tsv"], BOTH
    )  # fmt: skip
    assert [spec.name for spec in parsed] == ["eng-Latn-swh-Latn", "swh-Latn-eng-Latn", "eng-Latn-swh-Latn"]
    assert [len(spec.files) for spec in parsed] == [2, 1, 1]
    assert [len(spec.files[0]) for spec in parsed] == [1, 2, 1]


def test_what_is_named_twice_counts_once(tmp_path: Path) -> None:
    for name in ("a.tsv", "b.tsv"):
        written(tmp_path / name, "x\ty\n")
    one, all_, turned = (
        f"{name}={tmp_path}/{files}"
        for name, files in (("en-sw", "a.tsv"), ("en-sw", "*"), ("sw-en", "a.tsv"))
    )
    parsed = parse_pairs([one, all_, one, turned], BOTH)
    assert [[part[0].name for part in spec.files] for spec in parsed] == [["a.tsv"], ["b.tsv"], ["a.tsv"]]
    assert [spec.name for spec in parsed] == ["eng-Latn-swh-Latn", "eng-Latn-swh-Latn", "swh-Latn-eng-Latn"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("FILE", "write SOURCE-TARGET=FILE, such as en-sw=pairs.tsv.gz"),
        ("en-sw=", "write SOURCE-TARGET=FILE"),
        ("en=FILE", "'en' does not name two languages"),
        ("en-en=FILE", "'en-en' does not name two languages"),
        ("en-xq=FILE", "'en-xq' does not name two languages"),
        ("en-de=FILE", r"German \(deu-Latn\) is none of the languages asked for, eng-Latn, swh-Latn"),
        ("en-sw=nowhere.tsv", "no file matches it"),
        ("en-sw=FILE+FILE+FILE", "name just two"),
    ],
)
def test_specs_that_are_wrong(tmp_path: Path, spec: str, message: str) -> None:
    path = written(tmp_path / "p.tsv", "a\tb\n")
    with pytest.raises(InputError, match=message):
        parse_pairs([spec.replace("FILE", str(path))], BOTH)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a\tb\n\nc\n", "line 3 has 1 columns"), ("a\tb\tc\n", "line 1 has 3 columns"), ("a\0b\tc", "byte 1 is zero")],
)  # fmt: skip
def test_lines_that_are_no_pairs(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path / "p.tsv", text)
    with pytest.raises(InputError, match=message):
        list(read_pairs(spec_of(path)))


def test_files_of_unequal_length(tmp_path: Path) -> None:
    one, two = written(tmp_path / "one", "a\nb\nc\n"), written(tmp_path / "two", "a\nb")
    with pytest.raises(InputError, match=r"two: has no line 3, but .*one has"):
        list(read_pairs(spec_of(one, two)))


def test_a_line_that_is_no_sentence_moves_no_other(tmp_path: Path) -> None:
    """Cut in two it would stand against two translations, and all that follow would be one line off."""
    one = written(tmp_path / "one", "a\n" + "x " * 2**19 + "x\nb\n")
    two = written(tmp_path / "two", "1\n2\n3\n4\n")
    with pytest.raises(
        InputError, match=r"one: line 2 has more than 1048576 characters: write one sentence a line"
    ):
        list(read_pairs(spec_of(one, two)))
    columns = written(tmp_path / "columns.tsv", "a\tb\nc\t" + "x" * 2**21 + "\n")
    with pytest.raises(InputError, match="line 2 has more than 1048576"):
        list(read_pairs(spec_of(columns)))
