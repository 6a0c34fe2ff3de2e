from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polycompress.vocab.extending.choosing import choose, with_wholes, worth
from polycompress.vocab.extending.pieces import NewPiece


def test_what_held_out_text_never_shows_is_worth_least() -> None:
    value = worth(np.array([0, 1, 5, 0]), np.array([900, 0, 1, 0]))
    assert value.argsort()[::-1].tolist()[:3] == [2, 1, 0]
    assert value[0] < 1 <= value[1]
    assert value[3] == 0


def test_parts_are_worth_what_is_made_of_them() -> None:
    kept = [
        NewPiece(text="ab", merges=(("a", "b"),)),
        NewPiece(text="abc", merges=(("ab", "c"), ("a", "bc"))),
        NewPiece(text="xabc", merges=(("x", "abc"),)),
        NewPiece(text="yz", merges=(("y", "z"),)),
    ]
    assert with_wholes(kept, np.array([0.0, 3.0, 7.0, 5.0])).tolist() == [7.0, 7.0, 7.0, 5.0]


def test_the_best_are_kept_in_their_order() -> None:
    uses = {"a": 5, "b": 1, "c": 9, "d": 0, "e": 7, "f": 2, "g": 3, "h": 4}
    asked: list[int] = []

    def count(kept: Sequence[NewPiece]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        asked.append(len(kept))
        return np.array([uses[piece.text] for piece in kept]), np.array([1 for _ in kept])

    def cost(kept: Sequence[NewPiece]) -> NDArray[np.int64]:
        return np.full(len(kept), 2)

    candidates = [NewPiece(text=text) for text in uses]
    assert [piece.text for piece in choose(candidates, 3, count=count, cost=cost)] == ["a", "c", "e"]
    assert asked == [8, 5, 3] or asked == [8, 5]
    assert [piece.text for piece in choose(candidates, 20, count=count, cost=cost)] == [*"abcdefgh"]


def test_pieces_that_save_nothing_are_dropped() -> None:
    def count(kept: Sequence[NewPiece]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return np.array([3, 0]), np.array([4, 0])

    kept = choose(
        [NewPiece(text="a"), NewPiece(text="b")], 2, count=count, cost=lambda kept: np.full(len(kept), 2)
    )
    assert [piece.text for piece in kept] == ["a"]
