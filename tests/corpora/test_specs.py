from __future__ import annotations

from pathlib import Path

import pytest

from polycompress.corpora import DatasetSpec, parse_corpora, read_texts
from polycompress.errors import InputError
from polycompress.languages import find_languages
from tests.corpora.helpers import write


def test_specs_with_and_without_language(tmp_path: Path) -> None:
    de, en = str(write(tmp_path / "de.txt", "Tag")), str(write(tmp_path / "en.txt", "day"))
    german, both = find_languages("de"), find_languages("de,en")
    (spec,) = parse_corpora([de], german)
    assert (spec.language.code, spec.pattern, spec.files) == ("deu-Latn", de, (Path(de),))
    specs = parse_corpora([f"deu_Latn={de}", f"English={en}", f"de={tmp_path}/*.txt"], both)
    assert [(spec.language.code, [file.name for file in spec.files]) for spec in specs] == [
        ("deu-Latn", ["de.txt"]),
        ("eng-Latn", ["en.txt"]),
        ("deu-Latn", ["en.txt"]),
    ]
    assert parse_corpora([de, de], german) == (spec,)
    assert list(read_texts(spec)) == ["Tag"]


def test_an_equals_sign_in_a_path_is_no_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "lang=de.txt", "Tag")
    monkeypatch.chdir(tmp_path)
    for spec in ("lang=de.txt", "./lang=de.txt", "de=lang=de.txt"):
        assert [path.name for path in parse_corpora([spec], find_languages("de"))[0].files] == ["lang=de.txt"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("de=fehlt.txt", r"--corpus 'fehlt.txt': no file matches it \(looked from /"),
        ("de=*.fehlt", r"--corpus '\*\.fehlt': no file matches"),
        ("de=leer.txt", r"leer\.txt: empty\. Give a file with one text a line"),
        ("de=leer", "there is no file in leer"),
        ("de=", r"--corpus 'de=' names no file"),
        (
            "fr=a.txt",
            r"'fr=a.txt' is French \(fra-Latn\), which was not asked for: .*--langs \(now deu-Latn, eng",
        ),
        ("germn=a.txt", r"Unknown language 'germn'. Did you mean German \(deu-Latn\)"),
        ("a.txt", r"'a.txt' does not say its language, and there are 2 .*write --corpus deu-Latn='a.txt'"),
        (f"de={'x' * 5000}", "no file matches"),
    ],
)
def test_wrong_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, message: str) -> None:
    write(tmp_path / "a.txt", "Tag")
    write(tmp_path / "leer.txt", "")
    (tmp_path / "leer").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        parse_corpora([spec], find_languages("de,en"))


def test_messages_name_the_option_that_was_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^--text '.*fehlt': no file matches"):
        parse_corpora([str(tmp_path / "fehlt")], find_languages("de"), option="--text")


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"hf://owner/name@{COMMIT}", DatasetSpec("owner/name", COMMIT)),
        (f"hf://owner/name@{COMMIT}:sw#train", DatasetSpec("owner/name", COMMIT, "sw", "train")),
        ("hf://owner/na-m.e_1#test", DatasetSpec("owner/na-m.e_1", split="test")),
        ("hf://./d:sw", DatasetSpec("./d", config="sw")),
        ("hf://./d@x#a", DatasetSpec("./d@x", split="a")),
    ],
)
def test_data_sets_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: DatasetSpec
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("d", "d@x"):
        (tmp_path / name).mkdir()
    languages = find_languages("de,sw")
    (spec,) = parse_corpora([f"sw={text}", f"sw={text}"], languages, datasets=True)
    assert (spec.language, spec.pattern, spec.files, spec.dataset) == (languages[1], text, (), expected)
    assert str(expected) == text
    assert parse_corpora([text], languages[:1], datasets=True)[0].dataset == expected


@pytest.mark.parametrize(
    "name", ["json", "owner", "owner/name/more", "../fehlt", "./fehlt", "a/../b", "", "o/n?x", "-o/n", "o/.n"]
)
def test_what_is_no_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        InputError, match=r"^--corpus 'hf://.*(there is no directory|is neither owner/name of)"
    ):
        parse_corpora([f"hf://{name}"], find_languages("de"), datasets=True)


def test_a_data_set_where_only_files_are_read() -> None:
    with pytest.raises(InputError, match="data sets are read by polycompress count"):
        parse_corpora(["hf://owner/name"], find_languages("de"))
