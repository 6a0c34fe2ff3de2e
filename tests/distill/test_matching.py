from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from polycompress.distill.alignment import NO_WORD, align_all, dark_spans
from polycompress.distill.matching import match_piece

Spans = np.ndarray


@st.composite
def cut_texts(draw: st.DrawFn) -> tuple[str, Spans, list[Spans], int, int]:
    """A text, a model's tokens of it, those of two others (marks without text among them), and a piece of the first."""
    text = draw(st.text(alphabet="ab ü你", min_size=1, max_size=25))
    ways = []
    for _ in range(3):
        cuts = sorted(draw(st.sets(st.integers(0, len(text)))) | {0, len(text)})
        spans = []
        for begin, end in pairwise(cuts):
            spans += [(begin, begin)] * draw(st.integers(0, 1)) + [(begin, end)]
        ways.append(dark_spans(text, np.array(spans)))
    begin = draw(st.integers(0, len(ways[0])))
    return text, ways[0], ways[1:], begin, draw(st.integers(begin, len(ways[0])))


def dark(text: str, spans: Spans) -> set[int]:
    """Places of the characters, other than space, of some tokens."""
    return {at for begin, end in spans.tolist() for at in range(begin, end) if not text[at].isspace()}


@given(cut_texts(), st.integers(1, 12))
def test_words_of_a_piece_are_the_same_characters_of_all(
    found: tuple[str, Spans, list[Spans], int, int], room: int
) -> None:
    text, own, others, begin, end = found
    piece = own[begin:end]
    matched = match_piece(text, piece, others, [room, room])
    assert len(matched.words[0]) == len(piece)
    count = int(matched.words[0].max(initial=NO_WORD)) + 1
    inside = dark(text, piece)
    shown = []
    for spans, first, last, words in zip(
        others, matched.begins, matched.ends, matched.words[1:], strict=True
    ):
        assert 0 <= last - first <= room
        assert len(words) == last - first
        shown.append(spans[first:last])
        assert int(words.max(initial=NO_WORD)) + 1 == count
    for word in range(count):
        places = dark(text, piece[matched.words[0] == word])
        assert places and places <= inside
        for spans, words in zip(shown, matched.words[1:], strict=True):
            assert dark(text, spans[words == word]) == places


@given(cut_texts())
def test_a_text_in_one_piece_is_aligned_as_a_whole(found: tuple[str, Spans, list[Spans], int, int]) -> None:
    text, own, others, *_ = found
    matched = match_piece(text, own, others, [99, 99])
    whole = align_all(text, [own, *others])
    assert np.array_equal(matched.words[0], whole[0])
    for spans, first, last, words, all_words in zip(
        others, matched.begins, matched.ends, matched.words[1:], whole[1:], strict=True
    ):
        assert np.array_equal(words, all_words[first:last])
        assert (all_words[:first] == NO_WORD).all() and (all_words[last:] == NO_WORD).all()
        assert dark(text, spans[first:last]) == dark(text, spans)


def test_a_mark_before_a_word_belongs_to_it_and_a_cut_word_to_nothing() -> None:
    text = "ab cdef gh"
    piece = dark_spans(text, [(0, 2), (2, 5)])  # "ab", " cd"; "ef" is in the next one
    other = dark_spans(text, [(0, 2), (2, 3), (3, 7), (7, 10)])  # "ab", " ", "cdef", " gh"
    found = match_piece(text, piece, [other], [9])
    assert (found.begins, found.ends) == ((0,), (1,))
    assert found.words[0].tolist() == [0, NO_WORD]
    rest = match_piece(text, dark_spans(text, [(5, 7), (7, 10)]), [other], [9])
    assert (rest.begins, rest.ends) == ((3,), (4,))
    assert rest.words[0].tolist() == [NO_WORD, 0]
    marked = match_piece(text, dark_spans(text, [(3, 7)]), [other], [9])
    assert (marked.begins, marked.ends) == ((1,), (3,))
    assert marked.words[1].tolist() == [NO_WORD, 0]
    assert match_piece(text, dark_spans(text, [(2, 3)]), [other], [9]).words[0].tolist() == [NO_WORD]
