"""Word vectors read, and the vectors that they give to tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from polycompress.embeddings.word_vectors import of_one_language
from polycompress.errors import InputError
from polycompress.pipelines.initialising.spaces import read_vectors, token_space
from tests.pipelines.initialising.worlds import make_vectors, write_vectors


def small_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2, "c": 3, "A": 4}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def test_a_token_is_the_mean_of_the_words_that_hold_it_once_a_variant() -> None:
    vectors = of_one_language("eng-Latn", ["ab", "a", "c"], np.array([[1, 0], [0, 1], [5, 5]], np.float32))
    textual = np.array([False, True, True, True, True, True])
    made = token_space(small_tokenizer(), vectors, textual)
    # "a" is in `ab`, ` ab`, `a`, ` a`: twice each word; "##b" in all three variants of "ab".
    assert np.allclose(made.space.vectors[1], [0.5, 0.5])
    assert np.allclose(made.space.vectors[2], [1, 0])
    assert np.allclose(made.space.vectors[4], [0.5, 0.5])
    assert np.allclose(made.space.vectors[3], [5, 5])
    # ` C` is unknown, and what is unknown stands for nothing; the last id has no token.
    assert made.space.covered.tolist() == [False, True, True, True, True, False]
    assert made.held(vectors)["eng-Latn"].tolist() == [True, True, True, True, True, False]


def test_uses_go_by_the_counts_of_words() -> None:
    vectors = of_one_language(
        "eng-Latn", ["ab", "c"], np.eye(2, dtype=np.float32), np.array([10, 3], np.int64)
    )
    made = token_space(small_tokenizer(), vectors, np.ones(5, dtype=np.bool_))
    assert made.uses(vectors)["eng-Latn"].tolist() == [3, 20, 30, 6, 10]


def test_directories_say_whether_they_are_of_one_space(tmp_path: Path) -> None:
    write_vectors(tmp_path / "apart", to=None)
    found = read_vectors([str(tmp_path / "apart")])
    assert found is not None
    assert found.unaligned == (str(tmp_path / "apart"),)
    one = read_vectors([f"yo={tmp_path / 'apart'}"])
    assert one is not None
    assert one.unaligned == ()
    assert one.vectors.languages == ("yor-Latn",)
    assert {Path(each).name for each in one.files} == {
        "vectors.json",
        "yor-Latn.words",
        "yor-Latn.safetensors",
    }


def test_only_the_most_frequent_words_are_used(tmp_path: Path) -> None:
    write_vectors(tmp_path / "vectors")
    found = read_vectors([str(tmp_path / "vectors")], words=4)
    assert found is not None
    assert found.as_dict()["words"] == {"yor-Latn": 4, "ibo-Latn": 4, "eng-Latn": 4}
    assert found.vectors.words[:2] == make_vectors().words[:2]


def test_no_vectors_are_none_and_missing_ones_a_fault(tmp_path: Path) -> None:
    assert read_vectors([]) is None
    with pytest.raises(InputError, match="no such file or directory"):
        read_vectors([str(tmp_path / "nothing")])
