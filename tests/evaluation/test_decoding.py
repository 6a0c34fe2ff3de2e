from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polycompress.evaluation.decoding import best_span, decode_answers, decode_classes, decode_tags
from polycompress.evaluation.encoding import Encoded
from polycompress.evaluation.records import Answer, QuestionExample
from tests.evaluation.tiny_task_models import TAGS, sentence


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
