from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from polycompress.embeddings.loading import load_vectors
from polycompress.embeddings.training_vectors import VectorTraining
from polycompress.embeddings.vec_binary import open_fasttext
from polycompress.errors import InputError
from polycompress.pipelines.vectors import show_vectors, train_vectors

pytest.importorskip("fasttext")
OPTIONS = VectorTraining(width=6, epochs=2, buckets=100)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("text")
    draw = random.Random(0)
    for code in ("yo", "en"):
        lines = [" ".join(f"{code}{draw.choice('abcdef')}x".title() for _ in range(8)) for _ in range(60)]
        (root / f"{code}.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return root


def test_each_language_is_trained_on_its_own_text(corpora: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "vectors", []
    specs = [f"yo={corpora / 'yo.txt'}", f"en={corpora / 'en.txt'}"]
    done = train_vectors(specs, out, options=OPTIONS, command=["x"], tell=lambda *each: told.append(each))
    assert sorted(path.name for path in out.iterdir()) == [
        *(f"eng-Latn.{end}" for end in ("bin", "safetensors", "words")),
        "vectors.json",
        *(f"yor-Latn.{end}" for end in ("bin", "safetensors", "words")),
    ]
    found = load_vectors(out)
    assert set(found.words) == {f"{code}{letter}x" for code in ("yo", "en") for letter in "abcdef"}
    assert found.counts is not None
    assert int(found.counts.sum()) == 2 * 480
    own = done.languages["yor-Latn"]
    assert (own["words"], own["tokens"]) == (6, 480)
    assert own["corpus"][0]["name"] == "yo.txt"
    assert len(own["corpus"][0]["sha256"]) == 64
    model = open_fasttext(out / "yor-Latn.bin")
    place = found.words.index("yoax")
    assert np.allclose(model.get_word_vector("yoax"), found.matrix[place])
    assert {label for label, _, _ in told} >= {"training yor-Latn", "training eng-Latn"}
    shown = show_vectors(str(out), word="yo=Yoax", limit=2)
    assert shown["languages"]["yor-Latn"]["training"]["width"] == 6
    assert len(shown["nearest"]["eng-Latn"]) == 2
    assert "yoax" not in dict(shown["nearest"]["yor-Latn"])
    with pytest.raises(InputError, match="'none' has no vector among the 6 words of yor-Latn"):
        show_vectors(str(out), word="yo=none")
    with pytest.raises(InputError, match="no vectors of swh-Latn"):
        show_vectors(str(out), word="sw=maji")


def test_nothing_is_left_of_what_fails(corpora: Path, tmp_path: Path) -> None:
    rare = VectorTraining(width=6, min_count=1000)
    with pytest.raises(InputError, match="yor-Latn: No word occurs 1000 times"):
        train_vectors(f"yo={corpora / 'yo.txt'}", tmp_path / "vectors", options=rare)
    assert list(tmp_path.iterdir()) == []


def test_text_has_to_say_its_language(corpora: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not say its language: write it like yo="):
        train_vectors(str(corpora / "yo.txt"), tmp_path / "vectors")
    with pytest.raises(InputError, match="There is no text"):
        train_vectors([], tmp_path / "vectors")
