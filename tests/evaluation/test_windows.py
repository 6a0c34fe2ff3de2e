from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.evaluation.windows import own_word_starts, tokens_of_span, without_leading_space


def windows_of(words: list[int], room: int, stride: int) -> list[np.ndarray]:
    """Windows as the tokenizers library cuts them, between two special tokens."""
    found = []
    for begin in range(0, max(1, len(words)), room - stride):
        found.append(np.array([-1, *words[begin : begin + room], -1], dtype=np.int32))
        if begin + room >= len(words):
            break
    return found


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=30),
    st.integers(2, 12).flatmap(lambda room: st.tuples(st.just(room), st.integers(0, room // 2))),
)
def test_every_word_begins_once(sizes: list[int], cut: tuple[int, int]) -> None:
    room, stride = cut
    words = [word for word, size in enumerate(sizes) for _ in range(size)]
    windows = windows_of(words, room, stride)
    starts = own_word_starts(windows, room - stride)
    told = sorted(int(word) for window in starts for word in window if word >= 0)
    assert told == sorted({word for word, size in enumerate(sizes) if size})
    for number, (window, own) in enumerate(zip(windows, starts, strict=True)):
        for place in np.flatnonzero(own >= 0):
            assert window[place] == own[place]
            position = number * (room - stride) + place - 1
            assert words[position] == own[place]
            assert position == 0 or words[position - 1] != own[place], "not the word's first token"


def test_a_word_belongs_to_the_window_that_shows_more_around_it() -> None:
    windows = windows_of(list(range(8)), 6, 3)
    first, second = own_word_starts(windows, 3)
    assert [int(word) for word in first if word >= 0] == [0, 1, 2, 3, 4]
    assert [int(word) for word in second if word >= 0] == [5, 6, 7]


def test_a_bare_mark_of_a_beginning_does_not_stand_for_its_word() -> None:
    # "▁ 中 ▁ ▁ ab cd ▁": the third word is nothing but its mark
    words = np.array([-1, 0, 0, 1, 1, 1, 1, 2, -1], dtype=np.int32)
    bare = np.array([False, True, False, True, True, False, False, True, False])
    (starts,) = own_word_starts([words], 7, [bare])
    assert starts.tolist() == [-1, -1, 0, -1, -1, 1, -1, 2, -1]
    # the mark ends one window, its word's text begins the next: one of the two stands for it
    first, second = np.array([-1, 0, 1, -1]), np.array([-1, 1, 2, -1])
    marks = [np.array([False, False, True, False]), np.array([False, False, False, False])]
    found = own_word_starts([first, second], 2, marks)
    assert sorted(int(word) for starts in found for word in starts if word >= 0) == [0, 1, 2]


def test_spans_begin_with_a_letter() -> None:
    spans = np.array([[-1, -1], [0, 2], [2, 5], [5, 6], [6, 6]], dtype=np.int32)
    assert without_leading_space(spans, "ab cd ").tolist() == [[-1, -1], [0, 2], [3, 5], [6, 6], [6, 6]]


@pytest.mark.parametrize(
    ("begin", "end", "tokens"),
    [(0, 2, (1, 1)), (3, 5, (2, 2)), (1, 4, (1, 2)), (0, 9, (1, 3)), (0, 10, None), (2, 3, None)],
)
def test_tokens_of_a_span(begin: int, end: int, tokens: tuple[int, int] | None) -> None:
    offsets = np.array([[-1, -1], [0, 2], [3, 5], [6, 9], [-1, -1]], dtype=np.int32)
    assert tokens_of_span(offsets, begin, end) == tokens


def test_a_span_outside_of_the_window_is_not_there() -> None:
    offsets = np.array([[-1, -1], [10, 12], [13, 15]], dtype=np.int32)
    assert tokens_of_span(offsets, 8, 11) is None
    assert tokens_of_span(offsets[:1], 0, 1) is None
