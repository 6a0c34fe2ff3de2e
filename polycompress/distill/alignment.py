"""Which tokens of two tokenisations of one text make up the same words.

Where two models cut a text into different tokens, nothing that they say of single tokens can be compared. What they say
of a stretch of text can, if no token of either reaches over its ends: both models' tokens in it are averaged.

Words are numbered from 0 in the order of the text; tokens that belong to none (special tokens, padding) have -1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from polycompress.errors import InputError

NO_WORD: Final = -1


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """Two tokenisations of one text, by words."""

    first: NDArray[np.int64]
    """(n,) the word of each token of the first, or ``NO_WORD``."""
    second: NDArray[np.int64]
    """(m,) likewise."""
    words: int
    """How many there are; each has tokens of both."""


def align_by_word_ids(first: Sequence[int | None], second: Sequence[int | None]) -> Alignment:
    """Words that were there before tokens: both tokenisers were given the same list of words.

    Args:
        first: (n,) number of each token's word, as ``BatchEncoding.word_ids`` says; None where there is none.
        second: (m,)

    Raises:
        InputError: A word has tokens of one only, such as where a text was cut off at a length.
    """
    sides = [
        np.array([NO_WORD if word is None else word for word in side], np.int64) for side in (first, second)
    ]
    found = [set(side.tolist()) - {NO_WORD} for side in sides]
    if alone := sorted(found[0] ^ found[1]):
        who, other = ("first", "second") if alone[0] in found[0] else ("second", "first")
        raise InputError(
            f"Two tokenisations of one text differ in their words: word {alone[0]} has tokens of the {who}, none of "
            f"the {other} ({len(found[0])} and {len(found[1])} words). Was one cut off? Cut both at the same word."
        )
    numbers = np.array(sorted(found[0]), np.int64)
    renumbered = [np.where(side == NO_WORD, NO_WORD, np.searchsorted(numbers, side)) for side in sides]
    return Alignment(renumbered[0], renumbered[1], len(numbers))


def align_by_offsets(
    text: str, first: ArrayLike, second: ArrayLike, *, whole_words: bool = True
) -> Alignment:
    """Words from where tokens lie in the text.

    Args:
        text: What both tokenised.
        first: (n, 2) where each token begins and ends, in characters; special tokens are empty. Space at its ends
            counts as outside a token, whatever the tokeniser says.
        second: (m, 2)
        whole_words: Whether a word is what stands between spaces (or several, where a token reaches over a space). If
            not it is the shortest stretch over whose ends no token of either reaches, which is what to take for scripts
            without spaces.

    Raises:
        InputError: Offsets are not in the text, or one tokenisation covers a character, other than space, that the
            other does not.
    """
    dark = np.array([not character.isspace() for character in text], dtype=bool)
    sides = [_spans(dark, offsets, who) for offsets, who in ((first, "first"), (second, "second"))]
    covered = [_covered(len(text), [spans]) & dark for spans in sides]
    if len(differing := np.flatnonzero(covered[0] != covered[1])):
        place = int(differing[0])
        who, other = ("first", "second") if covered[0][place] else ("second", "first")
        raise InputError(
            f"Two tokenisations of one text differ in their words: character {place} ({text[place]!r}) is in a token "
            f"of the {who}, in none of the {other}. Was one cut off, or does its normaliser drop characters? Cut both "
            "at the same word, or leave the text out."
        )
    # Whether a character belongs with the one behind it.
    joined = _covered(max(0, len(text) - 1), [spans - np.array([0, 1]) for spans in sides])
    if whole_words:
        joined |= dark[:-1] & dark[1:]
    stretch = np.concatenate([[0], np.cumsum(~joined)]).astype(np.int64)  # (characters,)
    numbers = np.unique(stretch[: len(text)][covered[0]])
    words = [
        np.where(spans[:, 0] < spans[:, 1], np.searchsorted(numbers, stretch[spans[:, 0]]), NO_WORD)
        for spans in sides
    ]
    return Alignment(words[0], words[1], len(numbers))


def align_all(text: str, sides: Sequence[ArrayLike], *, whole_words: bool = False) -> list[NDArray[np.int64]]:
    """Words of any number of tokenisations of one text, from where their tokens lie in it.

    What one of them covers and another does not (a text that was cut off, characters that a normaliser drops) is no
    word: the rest of the text still counts.

    Args:
        text: What all tokenised.
        sides: (n, 2) of each, see ``align_by_offsets``.
        whole_words: See there.

    Returns:
        (n,) of each: the word of each of its tokens, from 0 in the order of the text, or ``NO_WORD``. Each word has
        tokens of all.

    Raises:
        InputError: Offsets are not in the text.
    """
    dark = np.array([not character.isspace() for character in text], dtype=bool)
    spans = [_spans(dark, offsets, f"{place}.") for place, offsets in enumerate(sides, start=1)]
    if not len(text):
        return [np.full(len(each), NO_WORD, dtype=np.int64) for each in spans]
    joined = _covered(len(text) - 1, [each - np.array([0, 1]) for each in spans])
    if whole_words:
        joined |= dark[:-1] & dark[1:]
    stretch = np.concatenate([[0], np.cumsum(~joined)]).astype(np.int64)  # (characters,)
    covered = [_covered(len(text), [each]) & dark for each in spans]
    counts = np.zeros(int(stretch[-1]) + 1, dtype=bool)
    counts[stretch[covered[0]]] = True
    for each in covered[1:]:
        counts[stretch[each != covered[0]]] = False
    number = np.where(counts, np.cumsum(counts) - 1, NO_WORD)
    return [
        np.where(each[:, 0] < each[:, 1], number[stretch[each[:, 0]]], NO_WORD).astype(np.int64)
        for each in spans
    ]


def dark_spans(text: str, offsets: ArrayLike) -> NDArray[np.int64]:
    """Where tokens lie in a text, without the space at their ends.

    Args:
        text: What was tokenised.
        offsets: (n, 2) where each token begins and ends, in characters.

    Returns:
        (n, 2); tokens without text, such as special ones, begin and end at 0.

    Raises:
        InputError: Offsets are not in the text.
    """
    return _spans(np.array([not character.isspace() for character in text], dtype=bool), offsets, "only")


def pooling_matrix(words: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """How tokens are averaged to words.

    Args:
        words: (n,) the word of each token, or ``NO_WORD``.
        count: Of words.

    Returns:
        (count, n) rows that sum to 1, or to 0 for a word without tokens.
    """
    member = words[None] == np.arange(count)[:, None]
    shares: NDArray[np.float64] = member / np.maximum(1, member.sum(axis=1, keepdims=True))
    return shares.astype(np.float32)


def stack_pooling(
    matrices: Sequence[NDArray[np.float32]], words: int | None = None, tokens: int | None = None
) -> NDArray[np.float32]:
    """The pooling matrices of a batch's texts, with rows and columns of zeros where a text is shorter.

    Args:
        matrices: (words, tokens) of each text.
        words: W, at least that of each text; None: the most. Both models' stacks need the same.
        tokens: n, to which the batch is padded on the right; None: the most.

    Returns:
        (B, W, n)
    """
    height = max((len(each) for each in matrices), default=0) if words is None else words
    width = max((each.shape[1] for each in matrices), default=0) if tokens is None else tokens
    stack = np.zeros((len(matrices), height, width), dtype=np.float32)
    for number, each in enumerate(matrices):
        stack[number, : each.shape[0], : each.shape[1]] = each
    return stack


def _spans(dark: NDArray[np.bool_], offsets: ArrayLike, who: str) -> NDArray[np.int64]:
    """(n, 2) where tokens begin and end, without the space at their ends; empty ones begin and end at 0."""
    spans = np.asarray(offsets, dtype=np.int64).reshape(-1, 2)
    wrong = (spans[:, 0] < 0) | (spans[:, 0] > spans[:, 1]) | (spans[:, 1] > len(dark))
    if wrong.any():
        token = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"Token {token} of the {who} tokenisation lies at {spans[token].tolist()}, outside a text of {len(dark)} "
            "characters. Are these the offsets of this text?"
        )
    places = np.flatnonzero(dark)
    # The first and the last dark character at or behind the beginning, and before the end.
    begin = np.searchsorted(places, spans[:, 0])
    end = np.searchsorted(places, spans[:, 1])
    bounds = np.concatenate([places, [0]])
    inside = begin < end
    trimmed = np.stack([bounds[begin], bounds[end - 1] + 1], axis=1)
    return np.where(inside[:, None], trimmed, 0).astype(np.int64)


def _covered(length: int, sides: Sequence[NDArray[np.int64]]) -> NDArray[np.bool_]:
    """(length,) which places lie in a span of any of some arrays of spans."""
    every = np.concatenate(sides)
    every = every[every[:, 0] < every[:, 1]]
    depth = np.zeros(length + 1, dtype=np.int64)
    np.add.at(depth, every[:, 0], 1)
    np.add.at(depth, every[:, 1], -1)
    return np.cumsum(depth)[:length] > 0
