from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.distill.alignment import (
    NO_WORD,
    align_all,
    align_by_offsets,
    align_by_word_ids,
    pooling_matrix,
    stack_pooling,
)
from polycompress.errors import InputError
from tests.tiny_models import TEXTS

Spans = list[tuple[int, int]]

texts = st.text(alphabet="ab ü你\n", max_size=25)


@st.composite
def cut_texts(draw: st.DrawFn, across_spaces: bool = True) -> tuple[str, Spans, Spans]:
    """A text and two ways to cut all of it, special tokens among them; spaces belong to tokens here and there."""
    text = draw(texts)
    ways = []
    for _ in range(2):
        cuts = sorted(draw(st.sets(st.integers(1, max(1, len(text) - 1)))) | {0, len(text)})
        if not across_spaces:
            spaces = {at for at, character in enumerate(text) if character.isspace()}
            cuts = sorted({*cuts, *spaces} | {at for at in spaces if draw(st.booleans())})
        ways.append([(0, 0), *((a, b) for a, b in pairwise(cuts) if b <= len(text)), (0, 0)])
    return text, ways[0], ways[1]


def characters(text: str, spans: Spans, words: np.ndarray, word: int) -> set[int]:
    """Places of the characters, other than spaces, of the tokens of a word."""
    return {
        at
        for (begin, end), each in zip(spans, words, strict=True)
        if each == word
        for at in range(begin, end)
        if not text[at].isspace()
    }


@given(cut_texts(), st.booleans())
def test_both_sides_of_a_word_are_the_same_characters(found: tuple[str, Spans, Spans], whole: bool) -> None:
    text, first, second = found
    alignment = align_by_offsets(text, first, second, whole_words=whole)
    seen: set[int] = set()
    last = -1
    for word in range(alignment.words):
        own = characters(text, first, alignment.first, word)
        assert own == characters(text, second, alignment.second, word)
        assert own
        assert min(own) > last  # words go up, and share nothing
        last = max(own)
        seen |= own
    assert seen == {at for at, character in enumerate(text) if not character.isspace()}
    for spans, words in ((first, alignment.first), (second, alignment.second)):
        for (begin, end), word in zip(spans, words, strict=True):
            assert (word == NO_WORD) == (not text[begin:end].strip())


@given(cut_texts())
def test_the_shortest_words_end_wherever_no_token_reaches_over(found: tuple[str, Spans, Spans]) -> None:
    text, first, second = found
    alignment = align_by_offsets(text, first, second, whole_words=False)
    dark = [at for at, character in enumerate(text) if not character.isspace()]
    word_at = {
        at: word for word in range(alignment.words) for at in characters(text, first, alignment.first, word)
    }
    for low, high in pairwise(dark):
        # Between neighbours a word goes on exactly where tokens, one after another, reach from one to the other.
        reached = all(
            any(begin <= at and at + 1 < end and text[begin:end].strip() and
                any(begin <= dark_at <= at for dark_at in dark) and any(at < dark_at < end for dark_at in dark)
                for begin, end in first + second)
            for at in range(low, high)
        )  # fmt: skip
        assert (word_at[low] == word_at[high]) == reached


@given(cut_texts(across_spaces=False))
def test_whole_words_are_those_between_spaces(found: tuple[str, Spans, Spans]) -> None:
    text, first, second = found
    alignment = align_by_offsets(text, first, second)
    assert alignment.words == len(text.split())
    for word, written in enumerate(text.split()):
        assert "".join(text[at] for at in sorted(characters(text, first, alignment.first, word))) == written


@given(cut_texts(), st.booleans())
def test_sides_can_be_changed(found: tuple[str, Spans, Spans], whole: bool) -> None:
    text, first, second = found
    one = align_by_offsets(text, first, second, whole_words=whole)
    other = align_by_offsets(text, second, first, whole_words=whole)
    assert one.words == other.words
    assert np.array_equal(one.first, other.second)
    assert np.array_equal(one.second, other.first)


@given(texts)
def test_a_tokenisation_is_aligned_with_itself_token_by_token(text: str) -> None:
    spans = [(at, at + 1) for at in range(len(text))]
    alignment = align_by_offsets(text, spans, spans, whole_words=False)
    dark = [not character.isspace() for character in text]
    assert alignment.first.tolist() == [
        n if d else NO_WORD for n, d in zip(np.cumsum(dark) - 1, dark, strict=True)
    ]


@given(st.lists(st.integers(0, 4), max_size=12), st.integers(5, 7))
def test_pooling_averages_the_tokens_of_each_word(words: list[int], count: int) -> None:
    numbers = np.array(words, dtype=np.int64)
    values = np.random.default_rng(0).normal(size=(len(words), 3))
    pooled = pooling_matrix(numbers, count) @ values
    for word in range(count):
        wanted = values[numbers == word].mean(axis=0) if word in words else np.zeros(3)
        np.testing.assert_allclose(pooled[word], wanted, rtol=1e-5, atol=1e-6)


def test_stacks_are_padded_with_zeros() -> None:
    one, two = pooling_matrix(np.array([-1, 0, 0]), 1), pooling_matrix(np.array([0, 1]), 2)
    stack = stack_pooling([one, two])
    assert stack.shape == (2, 2, 3)
    assert stack[0].tolist() == [[0.0, 0.5, 0.5], [0.0, 0.0, 0.0]]
    assert stack[1].tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    assert stack_pooling([one], words=4, tokens=5).shape == (1, 4, 5)
    assert stack_pooling([]).shape == (0, 0, 0)


def test_two_real_tokenisers() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from tokenizers.trainers import BpeTrainer, WordPieceTrainer

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Metaspace()  # type: ignore[assignment]
    bpe.train_from_iterator(TEXTS, BpeTrainer(vocab_size=400, show_progress=False))
    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # type: ignore[assignment]
    trainer = WordPieceTrainer(vocab_size=500, show_progress=False, special_tokens=["[UNK]"])
    pieces.train_from_iterator(TEXTS, trainer)
    for text in TEXTS:
        first, second = bpe.encode(text), pieces.encode(text)
        alignment = align_by_offsets(text, first.offsets, second.offsets)
        assert alignment.words == len(text.split())
        finer = align_by_offsets(text, first.offsets, second.offsets, whole_words=False)
        assert finer.words >= alignment.words
        # Finer words lie in whole ones.
        for words, fine in ((alignment.first, finer.first), (alignment.second, finer.second)):
            assert len({(a, b) for a, b in zip(fine, words, strict=True) if a != NO_WORD}) == finer.words


def test_words_that_were_there_before() -> None:
    found = align_by_word_ids([None, 0, 0, 2, 3, None], [0, 2, 2, 3, 3])
    assert found.first.tolist() == [-1, 0, 0, 1, 2, -1]
    assert found.second.tolist() == [0, 1, 1, 2, 2]
    assert found.words == 3
    assert align_by_word_ids([None], []).words == 0


def test_texts_whose_words_differ_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"word 2 has tokens of the first, none of the second \(3 and 2 words\)"
    ):
        align_by_word_ids([0, 1, 2], [0, 1, 1])
    with pytest.raises(
        InputError, match=r"character 3 \('c'\) is in a token of the second, in none of the first"
    ):
        align_by_offsets("ab cd", [(0, 2)], [(0, 2), (3, 5)])
    with pytest.raises(
        InputError, match=r"Token 1 of the second tokenisation lies at \[3, 9\], outside a text of 5"
    ):
        align_by_offsets("ab cd", [(0, 5)], [(0, 2), (3, 9)])
    with pytest.raises(InputError, match=r"Token 0 of the first tokenisation lies at \[2, 1\]"):
        align_by_offsets("ab", [(2, 1)], [(0, 2)])


def test_words_of_three_tokenisations_and_what_one_lacks() -> None:
    text = "ab cd ef"
    whole = [[0, 2], [3, 5], [6, 8]]
    pieces = [[0, 1], [1, 2], [2, 5], [0, 0]]  # cut off before the last word
    letters = [[0, 1], [1, 2], [3, 4], [4, 5], [6, 7], [7, 8]]
    found = align_all(text, [whole, pieces, letters])
    assert [each.tolist() for each in found] == [
        [0, 1, NO_WORD],
        [0, 0, 1, NO_WORD],
        [0, 0, 1, 1, NO_WORD, NO_WORD],
    ]


def test_two_tokenisations_are_aligned_as_before() -> None:
    text = "東京は日本"
    sides = ([[0, 2], [2, 3], [3, 5]], [[0, 1], [1, 3], [3, 4], [4, 5]])
    for whole_words in (False, True):
        pair = align_by_offsets(text, *sides, whole_words=whole_words)
        both = align_all(text, sides, whole_words=whole_words)
        assert [each.tolist() for each in both] == [pair.first.tolist(), pair.second.tolist()]


def test_nothing_to_align() -> None:
    assert [each.tolist() for each in align_all("", [[[0, 0]], [[0, 0], [0, 0]]])] == [[-1], [-1, -1]]
    assert [each.tolist() for each in align_all("a", [[[0, 0]], [[0, 1]]])] == [[NO_WORD], [NO_WORD]]
