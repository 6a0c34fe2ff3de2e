from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from polycompress.embeddings.loading import load_vectors
from polycompress.embeddings.vectors_directory import LanguageFiles, load_directory, save_directory
from polycompress.embeddings.word_vectors import join, of_one_language
from polycompress.errors import InputError
from polycompress.languages import find_language


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    out = tmp_path / "vectors"
    out.mkdir()
    random = np.random.default_rng(0)
    matrix = random.standard_normal((3, 4)).astype(np.float32)
    parts = [
        of_one_language("yor-Latn", ["ilé", "a b"], matrix[:2], np.array([5, 1], np.int64)),
        of_one_language("eng-Latn", ["house"], matrix[2:], np.array([7], np.int64)),
    ]
    (out / "yor-Latn.bin").write_bytes(b"model")
    own = LanguageFiles(
        record={"tokens": 9},
        model=out / "yor-Latn.bin",
        rotation=np.eye(4, dtype=np.float32),
        mean=np.ones(4, np.float32),
    )
    save_directory(out, join(parts), {"yor-Latn": own, "eng-Latn": LanguageFiles()}, {"to": "eng-Latn"})
    return out


def test_what_was_saved_is_read(directory: Path) -> None:
    found = load_directory(directory)
    assert found.vectors.words == ("ilé", "a b", "house")
    assert found.vectors.counts is not None
    assert found.vectors.counts.tolist() == [5, 1, 7]
    assert found.record["to"] == "eng-Latn"
    own = found.files["yor-Latn"]
    assert (own.record, own.model) == ({"tokens": 9}, directory / "yor-Latn.bin")
    assert own.rotation is not None
    assert np.array_equal(own.rotation, np.eye(4))
    assert np.array_equal(load_vectors(directory).matrix, found.vectors.matrix)
    assert load_vectors(directory, find_language("en")).words == ("house",)


def test_a_word_with_a_line_end_is_not_written(tmp_path: Path) -> None:
    bad = of_one_language("yor-Latn", ["a\nb"], np.zeros((1, 2), np.float32))
    with pytest.raises(InputError, match="line end"):
        save_directory(tmp_path, bad, {"yor-Latn": LanguageFiles()}, {})


def _edit(directory: Path, **changes: object) -> None:
    path = directory / "vectors.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


def test_damage_names_the_file(directory: Path) -> None:
    words = directory / "yor-Latn.words"
    for content, fault in (
        ("ilé\n", r"'vectors' is float32 \[2, 4\], but 1 words"),
        ("ilé\nilé\n", "'ilé' stands in line 1 and again in line 2"),
        ("ilé\n\n", "line 2 is empty"),
        ("ilé\na b", "was cut off"),
    ):
        words.write_text(content, "utf-8")
        with pytest.raises(InputError, match=fault):
            load_directory(directory)
    words.write_bytes(b"\xff\n")
    with pytest.raises(InputError, match="byte 0 is not UTF-8"):
        load_directory(directory)


def test_a_record_of_another_kind_is_refused(directory: Path) -> None:
    before = json.loads((directory / "vectors.json").read_text("utf-8"))
    for changes, fault in (
        ({"schema": 9}, "schema 9 is not known"),
        ({"width": "4"}, "'languages' or 'width'"),
        ({"languages": {"../x": {}}}, "is no entry of a language"),
        ({"languages": before["languages"] | {"deu-Latn": {}}}, "deu-Latn.words"),
    ):
        _edit(directory, **changes)
        with pytest.raises(InputError, match=fault):
            load_directory(directory)
        _edit(directory, **before)
    (directory / "yor-Latn.bin").unlink()
    with pytest.raises(InputError, match=r"yor-Latn\.bin: is missing"):
        load_directory(directory)
