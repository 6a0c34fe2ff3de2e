from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polycompress.evaluation.decoding import best_span, decode_answers, decode_classes, decode_tags
from polycompress.evaluation.encoding import Encoded
from polycompress.evaluation.records import Answer, Part, QuestionExample, WordsExample
from polycompress.evaluation.tasks import find_task, load_examples
from polycompress.evaluation.windows import tokens_of_span
from tests.evaluation.tiny_task_models import TAGS, encoder, sentence


def window(example: int, offsets: list[tuple[int, int]]) -> Encoded:
    return Encoded(example, np.zeros(len(offsets), dtype=np.int32), offsets=np.array(offsets, dtype=np.int32))


def tagged(example: int, *starts: int) -> Encoded:
    return Encoded(
        example, np.zeros(len(starts), dtype=np.int32), word_starts=np.array(starts, dtype=np.int32)
    )


def logits(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def test_classes() -> None:
    assert decode_classes([logits((0, 2, 1))[0], logits((3, 3, 1))[0]]).tolist() == [1, 0]
    assert decode_classes([]).tolist() == []


def test_tags_are_those_of_first_tokens_and_words_without_tokens_are_outside() -> None:
    examples = [sentence("a", "b", "c"), sentence("d")]
    encoded = [tagged(0, -1, 0, -1, -1), tagged(0, -1, 2, -1), tagged(1, 0)]
    scores = [
        logits((9, 0, 0), (0, 9, 0), (0, 0, 9), (9, 0, 0)),
        logits((9, 0, 0), (0, 0, 9), (9, 0, 0)),
        logits((1, 0, 0)),
    ]
    assert decode_tags(examples, encoded, scores, TAGS) == [["B-PER", "O", "I-PER"], ["O"]]


def test_what_was_encoded_otherwise_is_refused() -> None:
    with pytest.raises(ValueError, match="encode_words"):
        decode_tags([sentence("a")], [window(0, [(0, 1)])], [logits((1, 0, 0))], TAGS)
    with pytest.raises(ValueError, match="encode_questions"):
        decode_answers([asked("a b")], [tagged(0, 0)], [logits((1, 0))])


def asked(context: str, key: str = "q") -> QuestionExample:
    return QuestionExample(key, "p", context, "?", (Answer(context[0], 0),))


def test_the_best_span_of_all_windows() -> None:
    context = "one two three"
    examples = [asked(context), asked("four", "r")]
    windows = [
        window(0, [(-1, -1), (0, 3), (4, 7)]),
        window(0, [(-1, -1), (4, 7), (8, 13)]),
        window(1, [(-1, -1), (-1, -1), (-1, -1)]),
    ]
    scores = [
        logits((50, 50), (1, 0), (3, 2)),  # "two" for 5; what is not of the context never counts
        logits((50, 50), (4, 0), (0, 3)),  # "two three" for 7
        logits((1, 1), (1, 1), (1, 1)),
    ]
    assert decode_answers(examples, windows, scores) == {"q": "two three", "r": ""}
    assert decode_answers(examples, windows, scores, max_answer_tokens=1) == {"q": "two", "r": ""}


def test_only_the_best_begins_and_ends_are_paired() -> None:
    # Alone the best begin is behind the best end; the best pair needs a second begin.
    offsets = np.array([(0, 1), (1, 2), (2, 3)], dtype=np.int32)
    scores = logits((1, 0), (0, 5), (4, 0))
    assert best_span(scores, offsets, 30) == (6.0, 0, 1)
    assert best_span(scores, offsets, 30, n_best=2) == (6.0, 0, 1)
    assert best_span(scores, offsets, 30, n_best=1) is None


@given(
    st.integers(1, 12).flatmap(
        lambda size: st.tuples(
            hnp.arrays(np.float32, (size, 2), elements=st.integers(-20, 20).map(float)),
            st.lists(st.booleans(), min_size=size, max_size=size),
        )
    ),
    st.integers(1, 14),
)
def test_the_best_span_is_that_of_trying_all(given: tuple[np.ndarray, list[bool]], longest: int) -> None:
    scores, usable = given
    offsets = np.array(
        [(place, place + 1) if use else (-1, -1) for place, use in enumerate(usable)], dtype=np.int32
    )
    spans = [
        (float(scores[begin, 0] + scores[end, 1]), -begin, -end)
        for begin, end in itertools.product(range(len(scores)), repeat=2)
        if begin <= end < begin + longest and usable[begin] and usable[end]
    ]
    found = best_span(scores, offsets, longest)
    if not spans:
        assert found is None
    else:
        score, begin, end = max(spans)
        assert found == (score, -begin, -end)


@pytest.mark.parametrize(
    ("language", "family"), [("zho-Hans", "roberta"), ("hin-Deva", "roberta"), ("eng-Latn", "bert")]
)
def test_real_answers_come_back(language: str, family: str, data_dir: Path) -> None:
    found = load_examples(find_task("xquad"), Part(language), "test", data=data_dir, limit=20)
    examples = [example for example in found if isinstance(example, QuestionExample)]
    encoded = encoder(family, 384).encode_questions(examples)
    scores = []
    for row in encoded:
        answer = examples[row.example].answers[0]
        assert row.offsets is not None
        span = tokens_of_span(row.offsets, answer.start, answer.start + len(answer.text))
        told = np.zeros((len(row), 2), dtype=np.float32)
        if span is not None:
            told[span[0], 0] = told[span[1], 1] = 1
        scores.append(told)
    answers = decode_answers(examples, encoded, scores, max_answer_tokens=384)
    for example in examples:
        assert example.answers[0].text in answers[example.key]
        assert len(answers[example.key]) < len(example.answers[0].text) + 20


@pytest.mark.parametrize("language", ["zho-Hans", "arb-Arab"])
def test_real_tags_come_back(language: str, data_dir: Path) -> None:
    task = find_task("ner-wikiann")
    found = load_examples(task, Part(language), "test", data=data_dir, limit=60)
    examples = [example for example in found if isinstance(example, WordsExample)]
    encoded = encoder("roberta", 64).encode_words(examples)
    assert len(encoded) > len(examples)
    scores = []
    for row in encoded:
        labels = row.word_labels(examples[row.example].tags)
        scores.append(np.eye(len(task.labels), dtype=np.float32)[np.maximum(labels, 0)])
    wanted = [[task.labels[tag] for tag in example.tags] for example in examples]
    assert decode_tags(examples, encoded, scores, task.labels) == wanted
