from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from polycompress.embeddings.alignment import normalised
from polycompress.embeddings.training_vectors import VectorTraining, train_fasttext
from polycompress.embeddings.unseen import vectors_of
from polycompress.embeddings.vec_binary import read_fasttext
from polycompress.embeddings.vectors_directory import LanguageFiles
from polycompress.errors import InputError

pytest.importorskip("fasttext")


def test_known_words_get_their_own_vectors_and_unseen_ones_are_turned_alike(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("water waters watery\n" * 50, "utf-8")
    model = tmp_path / "a.bin"
    train_fasttext(tmp_path / "text.txt", model, VectorTraining(width=4, epochs=2, buckets=50))
    words, matrix, _ = read_fasttext(model)
    plain = LanguageFiles(model=model)
    assert np.array_equal(vectors_of(plain, words), matrix)
    mean = np.array([0.1, -0.2, 0, 0.3], np.float32)
    turn = np.eye(4, dtype=np.float32)[[2, 0, 3, 1]]
    found = vectors_of(LanguageFiles(model=model, rotation=turn, mean=mean), [*words, "waterways"])
    assert np.allclose(found[:-1], normalised(matrix, mean) @ turn)
    unseen = vectors_of(plain, ["waterways"])
    assert np.allclose(found[-1:], normalised(unseen, mean) @ turn)
    assert unseen.any()


def test_without_a_model_nothing_is_made_up() -> None:
    with pytest.raises(InputError, match="no fastText model"):
        vectors_of(LanguageFiles(), ["x"])
