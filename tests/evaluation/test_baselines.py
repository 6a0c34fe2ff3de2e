from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any, cast

import pytest

from polycompress.errors import MissingExtraError
from polycompress.evaluation.baselines import Baseline, only_on_one_side
from polycompress.evaluation.loading import load_examples
from polycompress.evaluation.records import Part, TextExample
from polycompress.evaluation.tasks import find_task


def test_words_of_one_side_only() -> None:
    pair = TextExample("1", "A dog runs.", "The dog is not running!", 2)
    assert only_on_one_side(pair) == ["+is", "+not", "+running", "+the", "-a", "-runs"]
    assert only_on_one_side(TextExample("1", "", "", 0)) == []


def test_it_learns_what_words_say() -> None:
    animals, verbs = ("dog", "cat", "horse", "bird"), ("runs", "sleeps", "eats", "swims")
    sentences = [f"the {animal} {verb}" for animal in animals for verb in verbs]
    train = [TextExample(f"{n}-no", each, f"{each} not", 1) for n, each in enumerate(sentences)]
    train += [TextExample(f"{n}-yes", each, each, 0) for n, each in enumerate(sentences)]
    baseline = Baseline("pair-classification", train)
    assert baseline.accuracy([TextExample("a", "a cow stands", "a cow stands not", 1)]) == 1
    assert baseline.accuracy(train) == 1


def test_characters_of_texts() -> None:
    train = [TextExample(str(n), f"{word} {n}", None, n % 2) for n, word in enumerate(["rain", "goal"] * 8)]
    baseline = Baseline("text-classification", train)
    assert baseline.predict(
        [TextExample("x", "rainy", None, 0), TextExample("y", "goals", None, 1)]
    ).tolist() == [0, 1]


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"bag-of-words baseline needs .* 'polycompress\[train\]'"):
        Baseline("pair-classification", [])


@pytest.mark.parametrize(
    ("name", "code", "reached"),
    [("sib200", "eng-Latn", 0.701), ("sib200", "swh-Latn", 0.686), ("nli-sick", "nld-Latn", 0.776)],
)
def test_on_real_text_it_reaches_what_the_data_pack_says(
    data_dir: Path, name: str, code: str, reached: float
) -> None:
    task = find_task(name)
    train, test = (
        cast("tuple[TextExample, ...]", load_examples(task, Part(code), split, data=data_dir))
        for split in ("train", "test")
    )
    assert Baseline(task.kind, train).accuracy(test) == pytest.approx(reached, abs=0.02)
