"""Mixing what is known of a language."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.languages import find_language
from polycompress.vocab.evidence import (
    BACKGROUND_SHARE,
    character_matrix,
    expected_shares,
    letters_of,
    letters_prior,
    mix,
    normalised,
    piece_preference,
)

TEXTS = [" der", "ß", "é", " the", "ш", " шум", "12", None, "q"]
PARTS = st.lists(
    st.tuples(st.lists(st.floats(0, 100), min_size=5, max_size=5).map(np.array), st.floats(0.001, 10)),
    min_size=1,
)


@given(parts=PARTS)
def test_a_mixture_sums_to_one_or_nothing(parts: list[tuple[np.ndarray, float]]) -> None:
    mixed = mix(parts)
    assert (mixed >= 0).all()
    assert mixed.sum() == pytest.approx(1.0 if any(part.sum() > 0 for part, _ in parts) else 0.0)


def test_weights_decide_and_sizes_do_not() -> None:
    assert mix([(np.array([2.0, 0.0]), 1.0), (np.array([0.0, 500.0]), 3.0)]).tolist() == [0.25, 0.75]


def test_letters_come_from_what_is_used() -> None:
    shares = normalised(np.array([10.0, 1, 0.0001, 5, 0, 0, 3, 0, 0]))
    letters = letters_of(shares, character_matrix(TEXTS))
    assert {"d", "D", "ß", "t", "H"} <= set(letters)
    assert not {"é", "ш", "1", " "} & set(letters)


def test_the_prior_holds_pieces_of_those_letters_only() -> None:
    prior = letters_prior(np.ones(9), character_matrix(TEXTS), "dersthß")
    assert prior.sum() == pytest.approx(1.0)
    assert np.flatnonzero(prior).tolist() == [0, 1, 3]


def test_without_background_only_the_corpus_speaks() -> None:
    corpus = np.array([4.0, 0, 0, 4, 0, 0, 0, 0, 0])
    shares = expected_shares(
        find_language("de"), corpus=corpus, words=None, background=None, preference=np.ones(9), texts=TEXTS
    )
    assert np.flatnonzero(shares).tolist() == [0, 3]


def test_background_and_priors_stay_small() -> None:
    corpus = np.array([4.0, 0, 0, 0, 0, 0, 0, 0, 0])
    background = np.array([0.0, 0, 0, 7, 0, 0, 0, 0, 0])
    shares = expected_shares(
        find_language("de"),
        corpus=corpus,
        words=None,
        background=background,
        preference=np.ones(9),
        texts=TEXTS,
    )
    assert shares[0] > 0.99
    assert shares[3] >= BACKGROUND_SHARE * 0.9
    assert shares[8] > 0, "ASCII pieces stay in reach"
    assert shares[5] == 0, "pieces of other scripts do not"


def test_preference_is_the_score_or_zipf() -> None:
    unigram = {"model": {"type": "Unigram", "vocab": [["a", -1.0], ["b", -2.0]]}}
    assert piece_preference(unigram, 3).tolist() == pytest.approx([np.exp(-1), np.exp(-2), 0.0])
    ranked = piece_preference({"model": {"type": "BPE"}}, 5)
    assert (np.diff(ranked) < 0).all() and (ranked > 0).all()
