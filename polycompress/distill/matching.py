"""Pieces of a text that was too long for one model, found again among the tokens of others.

A model's tokens decide where a text is cut. Each other model is shown its own tokens of the same stretch: those that
lie wholly in it. What a cut leaves of a token at its ends is no word (see ``alignment``), so nothing is compared there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycompress.distill.alignment import align_all


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """A piece as all models see it."""

    begins: tuple[int, ...]
    """Of each other model: its first token in the piece."""
    ends: tuple[int, ...]
    """And the one behind its last; equal to the beginning where it has none."""
    words: tuple[NDArray[np.int64], ...]
    """Of the model that cut, (n,) the word of each of its tokens, or ``alignment.NO_WORD``; then likewise of each other
    model's tokens in the piece."""


def match_piece(
    text: str, piece: NDArray[np.int64], others: Sequence[NDArray[np.int64]], rooms: Sequence[int]
) -> Matched:
    """Other models' tokens of a piece of a text, and the words that all of them have.

    Args:
        text: The whole text.
        piece: (n, 2) where the tokens of the model that cut it lie, as ``alignment.dark_spans`` gives them.
        others: (m, 2) of each other model, likewise, of the whole text.
        rooms: Tokens that each other model is shown at most; what is over is cut off.
    """
    real = piece[piece[:, 0] < piece[:, 1]]
    begin, end = (int(real[:, 0].min()), int(real[:, 1].max())) if len(real) else (0, 0)
    bounds = [_inside(spans, begin, end, room) for spans, room in zip(others, rooms, strict=True)]
    shown = [spans[first:last] for spans, (first, last) in zip(others, bounds, strict=True)]
    words = align_all(text[begin:end], [_moved(spans, begin) for spans in (piece, *shown)])
    return Matched(tuple(first for first, _ in bounds), tuple(last for _, last in bounds), tuple(words))


def _inside(spans: NDArray[np.int64], begin: int, end: int, room: int) -> tuple[int, int]:
    """The first token that lies in a stretch, with marks without text before it, and the one behind the last."""
    there = spans[:, 0] < spans[:, 1]
    found = np.flatnonzero(there & (spans[:, 0] >= begin) & (spans[:, 1] <= end))
    if not len(found):
        return 0, 0
    before = np.flatnonzero(there[: found[0]])
    first = int(before[-1]) + 1 if len(before) else 0
    return first, min(int(found[-1]) + 1, first + room)


def _moved(spans: NDArray[np.int64], begin: int) -> NDArray[np.int64]:
    """The same in a text that begins later; empty ones stay at 0."""
    return np.where(spans[:, :1] < spans[:, 1:], spans - begin, 0)
