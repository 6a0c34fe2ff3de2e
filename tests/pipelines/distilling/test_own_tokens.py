"""Examples in teachers' own tokens, and words that all models have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from polycompress.distill.alignment import NO_WORD
from polycompress.evaluation.encoding import TaskEncoder, joined_text
from polycompress.evaluation.records import Part, TextExample, WordsExample
from polycompress.pipelines.distilling.own_tokens import make_own_tokens
from polycompress.pipelines.tuning.data import EncodedPart, by_language, encode_part
from polycompress.training.items import Items
from tests.tiny_models import TEXTS, make_tiny


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Three tokenizers: Unigram, WordPiece, byte-level BPE."""
    root = tmp_path_factory.mktemp("tokenizers")
    found = []
    for family in ("xlm-roberta", "bert", "roberta"):
        path = make_tiny(family, "base", root / family, vocab_size=300)
        found.append((path / "tokenizer.json").read_text(encoding="utf-8"))
    return tuple(found)


def encoders(documents: tuple[str, ...], max_length: int) -> list[TaskEncoder]:
    return [TaskEncoder(document, max_length=max_length) for document in documents]


def parts_of(encoder: TaskEncoder, examples: Mapping[str, Sequence[Any]]) -> list[EncodedPart]:
    return [encode_part(encoder, Part(code, "train"), tuple(each), None) for code, each in examples.items()]


def test_words_of_texts_cover_the_same_text(documents: tuple[str, ...]) -> None:
    """For each word the tokens of every model begin and end at the same characters."""
    student, *teachers = encoders(documents, 64)
    texts = [
        TextExample(str(n), text, TEXTS[(n + 1) % 16] if n % 2 else None, 0) for n, text in enumerate(TEXTS)
    ]
    parts = parts_of(student, {"eng-Latn": texts})
    own = make_own_tokens(parts, student, [*teachers, None], stride=None, words=True)
    assert own.words is not None and own.items[2] is None
    assert own.words[0][3] is own.words[3][3] or np.array_equal(own.words[0][3], own.words[3][3])
    offsets = [each.text_offsets(texts) for each in (student, *teachers)]
    seen = 0
    for number, example in enumerate(texts):
        counts = {int(words[number].max(initial=-1)) + 1 for words in own.words}
        (count,) = counts
        seen += count
        for word in range(count):
            spans = set()
            for words, places in zip(own.words, offsets, strict=False):
                inside = places[number][words[number] == word]
                stretch = joined_text(example)[inside[:, 0].min() : inside[:, 1].max()]
                spans.add(stretch.strip())
            assert len(spans) == 1, spans
    assert seen > 60
    for place in (0, 1):
        items = own.items[place]
        assert items is not None
        for number in range(len(texts)):
            assert len(items[number].ids) == len(own.words[place + 1][number])


def test_windows_of_long_sentences_are_matched(documents: tuple[str, ...]) -> None:
    student, teacher, other = encoders(documents, 24)
    words = {"eng-Latn": tuple(f"{TEXTS[2]} {TEXTS[3]}".split()), "deu-Latn": tuple(TEXTS[0].split())}
    examples = {
        code: [
            WordsExample(f"{code}-{n}", each, tuple((k + n) % 3 for k in range(len(each)))) for n in range(3)
        ]
        for code, each in words.items()
    }
    parts = parts_of(student, examples)
    own = make_own_tokens(parts, student, [teacher, other], stride=None, words=True)
    mine = Items(by_language(parts))
    assert own.words is not None
    for number in range(len(mine)):
        labels = []
        items = [mine, *own.items]
        for each, found in zip(items, own.words, strict=True):
            assert each is not None
            starts = np.flatnonzero(found[number] != NO_WORD)
            assert list(found[number][starts]) == list(range(len(starts))), "in order, each once"
            labels.append(each[number].labels[starts].tolist())
        assert labels[0] == labels[1] == labels[2], "the same words have the same tags"
    assert len(mine) > 6, "some sentences are several windows"
    assert sum(int((found != NO_WORD).sum()) for found in own.words[0]) > 30
