"""Windows over what is longer than a model takes: which window answers for a word, and where tokens stand in a text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NOWHERE = -1
"""Marks a token that begins no word, or that is not of the context."""


def own_word_starts(
    windows: Sequence[NDArray[np.int32]], step: int, bare: Sequence[NDArray[np.bool_]] | None = None
) -> list[NDArray[np.int32]]:
    """Give every word's first token to one window: the one that shows most of its surroundings.

    A token that is nothing but the mark of a word's beginning says nothing of the word: SentencePiece puts one before
    almost every Chinese character that stands alone. The word's next token stands for it then.

    Args:
        windows: Of one sentence, in order: (T,) for each token its word's number, -1 for special tokens.
        step: Ordinary tokens by which a window begins later than the one before.
        bare: For each window (T,) which tokens are such marks; None: there are none.

    Returns:
        For each window (T,) the number of the word whose first token stands there, else -1. Every word that has a
        token occurs exactly once in all windows together; where two show as much, in the earlier.
    """
    found = [np.full(len(words), NOWHERE, dtype=np.int32) for words in windows]
    best: dict[int, tuple[int, int, int]] = {}
    before = NOWHERE
    for number, words in enumerate(windows):
        places = np.flatnonzero(words >= 0)
        own = words[places]
        marks = np.zeros(len(own), dtype=bool) if bare is None else bare[number][places]
        firsts = np.flatnonzero(own != np.concatenate(([before], own[:-1])))
        far = len(own)
        for first in firsts.tolist():
            left = first if number else far
            right = far - 1 - first if number < len(windows) - 1 else far
            word, context = int(own[first]), min(left, right)
            if word not in best or context > best[word][0]:
                while marks[first] and first + 1 < far and own[first + 1] == word:
                    first += 1
                best[word] = (context, number, int(places[first]))
        before = int(own[step - 1]) if 0 < step <= len(own) else NOWHERE
    for word, (_, number, place) in best.items():
        found[number][place] = word
    return found


def without_leading_space(spans: NDArray[np.int32], text: str) -> NDArray[np.int32]:
    """Spans that begin at their first character that is no white space.

    Args:
        spans: (T, 2) begin and end in characters of ``text``; -1 where there is none.
        text: What they are spans of.

    Returns:
        (T, 2) a span of white space alone becomes empty.
    """
    size = len(text)
    solid = np.full(size + 1, size, dtype=np.int32)
    letters = np.fromiter((not letter.isspace() for letter in text), dtype=bool, count=size)
    solid[:size][letters] = np.flatnonzero(letters)
    following = np.minimum.accumulate(solid[::-1])[::-1]  # (size + 1,) the next solid character from here
    found = spans.copy()
    real = (spans[:, 0] >= 0) & (spans[:, 0] <= size)
    found[real, 0] = np.minimum(following[spans[real, 0]], spans[real, 1])
    return found


def tokens_of_span(offsets: NDArray[np.int32], begin: int, end: int) -> tuple[int, int] | None:
    """The tokens that hold a span of the context, in one window.

    Args:
        offsets: (T, 2) of the window: each token's span, -1 where it is not of the context.
        begin: First character.
        end: One past the last character.

    Returns:
        First and last token, or None where the window does not hold the whole span.
    """
    real = np.flatnonzero((offsets[:, 0] >= 0) & (offsets[:, 1] > offsets[:, 0]))
    if not len(real) or offsets[real[0], 0] > begin or offsets[real[-1], 1] < end:
        return None
    touched = real[(offsets[real, 0] < end) & (offsets[real, 1] > begin)]
    return (int(touched[0]), int(touched[-1])) if len(touched) else None
