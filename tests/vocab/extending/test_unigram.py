from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.vocab.extending.unigram import pieces_without, scale_offset, scaled_pieces, score_range
from tests.vocab.documents import unigram, words


def test_the_scale_is_the_median_difference() -> None:
    old = {f"p{number}": -10.0 - number for number in range(30)} | {"</s>": 0.0}
    new = [(f"p{number}", -8.0 - number) for number in range(29)] + [
        ("p29", -1.0),
        ("</s>", -3.0),
        ("x", -2.0),
    ]
    assert scale_offset(old, new) == -2.0
    assert scale_offset(old, new[:5]) == 0.0


def test_new_scores_stay_within_the_old_range() -> None:
    entries = [(f"p{number}", -5.0 - number / 10) for number in range(30)]
    model = unigram(("<unk>", 0.0), *entries)
    trained = [(piece, score + 3) for piece, score in entries] + [
        ("high", -0.5),
        ("mid", -3.0),
        ("low", -50.0),
    ]
    assert score_range(model) == (-7.9, -5.0)
    found = {piece.text: piece.score for piece in scaled_pieces(model, trained)}
    assert found == {"high": -5.0, "mid": -6.0, "low": -7.9}


def test_a_piece_without_itself() -> None:
    scores = {"ab": -1.0, "a": -2.0, "b": -2.0, "abc": -1.0, "c": -3.0}
    assert pieces_without("abc", scores, longest=16, unknown=-20.0) == ["ab", "c"]
    assert pieces_without("abd", scores, longest=16, unknown=-20.0) == ["ab", None]
    assert pieces_without("d", scores | {"d": -1.0}, longest=16, unknown=-20.0) == [None]


@given(
    text=words(longest=6), scores=st.dictionaries(words(), st.sampled_from([-1.0, -2.5, -4.0]), max_size=12)
)
def test_it_is_the_best_of_all_ways(text: str, scores: dict[str, float]) -> None:
    def price(path: list[str]) -> float:
        each = [scores.get(part) if part != text else None for part in path]
        if any(one is None and len(part) > 1 for one, part in zip(each, path, strict=True)):
            return -math.inf
        return sum(-20.0 if one is None else one for one in each)

    ways = []
    for cuts in itertools.product([False, True], repeat=len(text) - 1):
        path = [text[0]]
        for cut, character in zip(cuts, text[1:], strict=True):
            path = [*path, character] if cut else [*path[:-1], path[-1] + character]
        ways.append(price(path))
    found = pieces_without(text, scores, longest=16, unknown=-20.0)
    got = sum(-20.0 if part is None else scores[part] for part in found)
    assert got == pytest.approx(max(ways))
