from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest

from polycompress.embeddings.keys import read_key
from polycompress.embeddings.loading import load_vectors
from polycompress.errors import InputError
from polycompress.languages import find_language

YORUBA = find_language("yo")


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("header", ["3 2\n", ""])
def test_text_with_and_without_a_header_and_compressed(header: str, tmp_path: Path) -> None:
    text = header + "ilé 1 -0.5\nomi 2e-1 3 \nmá 0 0\n"
    plain, packed = _write(tmp_path / "a.vec", text), tmp_path / "a.vec.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    for path in (plain, packed):
        found = load_vectors(path, YORUBA)
        assert (found.words, found.languages) == (("ilé", "omi", "má"), ("yor-Latn",))
        assert np.array_equal(found.matrix, np.array([[1, -0.5], [0.2, 3], [0, 0]], np.float32))
    assert load_vectors(plain, YORUBA, limit=2).words == ("ilé", "omi")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("3 2\na 1 2\nb 1\nc 1 2\n", "line 3 has 1 values where the others have 2"),
        ("3 2\na 1 2\nb 1 2 3\nc 1 2\n", "line 3 has 3 values where the others have 2"),
        ("a 1 2\nb 1 nan\n", "line 2: the vector of 'b' holds nan"),
        ("a 1 2\nb 1e99 2\n", "line 2: the vector of 'b' holds 1e99"),
        ("a 1 2\nb 1 x\n", r"line 2 \('b'\): 'x' is no number"),
        ("a 1 2\nb 1 2\na 3 4\n", "'a' stands in line 1 and again in line 3"),
        ("3 2\na 1 2\n", "promises 3 vectors, but there are 1"),
        ("", "is empty"),
        ("0 2\n", "holds no vectors"),
        ("word\n", "line 1 makes 0 vectors of 0 values"),
        ("5 999999\na 1\n", "at most"),
    ],
)
def test_faults_of_text_name_line_and_word(text: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=fault):
        load_vectors(_write(tmp_path / "a.vec", text), YORUBA)


def test_keys_tell_their_languages(tmp_path: Path) -> None:
    text = "5 1\nyor:ilé 1\nyor:a:b 2\nhouse 3\n$house$ 4\nxqz:q 5\n"
    found = load_vectors(_write(tmp_path / "net.vec", text))
    assert found.words == ("ilé", "a:b", "house", " house ", "q")
    codes = [found.languages[place] for place in found.language_of]
    assert codes == ["yor-Latn", "yor-Latn", "eng-Latn", "eng-Latn", "xqz"]
    assert read_key("Yor:x") == ("eng-Latn", "Yor:x")
    assert read_key("yor:") == ("eng-Latn", "yor:")


def test_plain_keys_need_a_language(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not say of which language"):
        load_vectors(_write(tmp_path / "a.vec", "a 1 2\nb 1 2\n"))


def _binary(words: list[bytes], matrix: np.ndarray, n: int | None = None) -> bytes:
    body = b"".join(
        word + b" " + row.astype("<f4").tobytes() + b"\n" for word, row in zip(words, matrix, strict=True)
    )
    return f"{n or len(words)} {matrix.shape[1]}\n".encode() + body


def test_word2vecs_binary_format_is_read_exactly(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    path = tmp_path / "a.bin"
    path.write_bytes(_binary(["ilé".encode(), b"b", b"c"], matrix))
    found = load_vectors(path, YORUBA)
    assert found.words == ("ilé", "b", "c")
    assert np.array_equal(found.matrix, matrix)
    assert load_vectors(path, YORUBA, limit=1).words == ("ilé",)


def test_faults_of_word2vecs_binary_format(tmp_path: Path) -> None:
    matrix = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    path = tmp_path / "a.bin"
    whole = _binary([b"a", b"b", b"c"], matrix)
    broken = matrix.copy()
    broken[1, 2] = np.nan
    for content, fault in (
        (whole[:-9], "cannot hold|ends inside of word 3"),
        (_binary([b"a", b"b", b"c"], matrix, n=900), "promises 900 vectors"),
        (whole + b"more", "goes on behind its 3 vectors"),
        (_binary([b"a", b"b", b"a"], matrix), "'a' is word 1 and again word 3"),
        (_binary([b"a", b"b", b"c"], broken), r"vector of 'b' \(word 2\) holds NaN"),
        (_binary([b"a", b"\xff", b"c"], matrix), "word 2 is not UTF-8"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=fault):
            load_vectors(path, YORUBA)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "gensim.model"
    path.write_bytes(pickle.dumps({"vectors": [1]}))
    with pytest.raises(InputError, match="save_word2vec_format"):
        load_vectors(path, YORUBA)
    with pytest.raises(InputError, match="no such file"):
        load_vectors(tmp_path / "none.vec", YORUBA)
