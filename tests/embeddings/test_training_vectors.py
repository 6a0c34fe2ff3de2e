from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from polycompress.embeddings.training_vectors import STEPS, VectorTraining, train_fasttext, write_words
from polycompress.embeddings.vec_binary import open_fasttext, read_fasttext
from polycompress.errors import InputError

pytest.importorskip("fasttext")
OPTIONS = VectorTraining(width=8, epochs=3, min_count=2, buckets=200)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    draw = random.Random(0)
    words = [f"w{number}rd" for number in range(40)]
    with path.open("w", encoding="utf-8") as file:
        written = write_words([draw.choices(words, k=9) for _ in range(300)] + [[]], file)
    assert written == 2700
    return path


def test_training_is_the_same_again_and_another_with_another_seed(text: Path, tmp_path: Path) -> None:
    told: list[int] = []
    train_fasttext(text, tmp_path / "a.bin", OPTIONS, progress=told.append)
    train_fasttext(text, tmp_path / "b.bin", OPTIONS)
    assert (tmp_path / "a.bin").read_bytes() == (tmp_path / "b.bin").read_bytes()
    assert sum(told) == STEPS
    other = VectorTraining(**(OPTIONS.as_dict() | {"seed": 1}))
    train_fasttext(text, tmp_path / "c.bin", other)
    words, matrix, counts = read_fasttext(tmp_path / "a.bin")
    again, changed, _ = read_fasttext(tmp_path / "c.bin")
    assert len(words) == 40
    assert "</s>" not in words
    assert (matrix.shape, counts.sum()) == ((40, 8), 2700)
    assert set(again) == set(words)
    assert not np.array_equal(np.sort(matrix, axis=None), np.sort(changed, axis=None))
    assert np.isfinite(open_fasttext(tmp_path / "a.bin").get_word_vector("unseen")).all()
    damaged = tmp_path / "d.bin"
    damaged.write_bytes((tmp_path / "a.bin").read_bytes()[:-5])
    with pytest.raises(InputError, match=r"not a whole fastText model.*Give a whole model of words"):
        read_fasttext(damaged)


def test_text_without_frequent_words_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("each word once here\n", "utf-8")
    with pytest.raises(InputError, match=r"No word occurs 2 times.*--min-count"):
        train_fasttext(path, tmp_path / "a.bin", OPTIONS)
    assert not (tmp_path / "a.bin").exists()


def test_settings_that_cannot_be_are_all_named() -> None:
    with pytest.raises(InputError, match=r"width is 0.*epochs is 0.*learning_rate.*n-grams of 5 to 3"):
        VectorTraining(width=0, epochs=0, learning_rate=0, min_gram=5, max_gram=3)
