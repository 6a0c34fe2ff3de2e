"""Vectors of subwords as means of words'."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.embeddings.initialising import subword_vectors as module
from polycompress.embeddings.initialising.subword_vectors import subword_vectors
from polycompress.embeddings.initialising.word_subwords import Incidences, word_subwords

MATRIX = np.array([[1.0, 0.0], [0.0, 2.0], [-4.0, 4.0]], dtype=np.float32)


def test_the_papers_mean_by_hand() -> None:
    # Word 0 holds subword 1 in two variants and counts twice; word 1 once.
    found = word_subwords([0, 0, 1, 2], [[1, 0], [1], [1, 3], [3]])
    vectors, covered = subword_vectors(found, MATRIX, 5)
    assert vectors.dtype == np.float32
    assert np.allclose(vectors, [[1, 0], [2 / 3, 2 / 3], [0, 0], [-2, 3], [0, 0]], atol=1e-9)
    assert covered.tolist() == [True, True, False, True, False]


def test_weights_by_hand() -> None:
    found = word_subwords([0, 1, 2], [[0, 1], [0], [2]])
    vectors, covered = subword_vectors(found, MATRIX, 3, word_weights=np.array([3.0, 1.0, 0.0]))
    assert np.allclose(vectors[0], [0.75, 0.5])
    assert covered.tolist() == [True, True, False]
    vectors, _ = subword_vectors(found, MATRIX, 3, by_pieces=True)
    assert np.allclose(vectors[0], [1 / 3, 4 / 3])


@given(
    seed=st.integers(0, 2**32), words=st.integers(1, 40), weighted=st.booleans(), size=st.floats(1e-20, 1e20)
)
def test_order_and_batches_cannot_be_seen(seed: int, words: int, weighted: bool, size: float) -> None:
    draw = np.random.default_rng(seed)
    matrix = (draw.standard_normal((words, 3)) * size).astype(np.float32)
    encodings = [draw.integers(0, 12, draw.integers(0, 6)).tolist() for _ in range(words)]
    weights = draw.random(words) if weighted else None
    found = word_subwords(range(words), encodings)
    vectors, covered = subword_vectors(found, matrix, 14, word_weights=weights)
    order = draw.permutation(words)
    other = word_subwords(range(words), [encodings[word] for word in order])
    again, also = subword_vectors(
        other, matrix[order], 14, word_weights=None if weights is None else weights[order]
    )
    assert np.array_equal(vectors, again)
    assert np.array_equal(covered, also)
    for token in range(14):
        rows = np.array([word for word in range(words) if token in encodings[word]], dtype=int)
        assert covered[token] == bool(len(rows))
        if len(rows):
            shares = np.ones(len(rows)) if weights is None else weights[rows]
            mean = (shares[:, None] * matrix[rows].astype(np.float64)).sum(axis=0) / shares.sum()
            assert np.allclose(vectors[token], mean, rtol=1e-5, atol=1e-6 * size)


def test_subwords_that_span_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(5)
    matrix = draw.standard_normal((50, 4)).astype(np.float32)
    found = word_subwords(range(50), [draw.integers(0, 4, 3).tolist() for _ in range(50)])
    whole, covered = subword_vectors(found, matrix, 6)
    for block in (1, 2, 7):
        monkeypatch.setattr(module, "_BLOCK", block)
        vectors, also = subword_vectors(found, matrix, 6)
        assert np.array_equal(vectors, whole)
        assert np.array_equal(covered, also)


def test_no_words_at_all() -> None:
    vectors, covered = subword_vectors(word_subwords([], []), MATRIX, 2)
    assert not vectors.any()
    assert not covered.any()


def incidence(word: int, subword: int) -> Incidences:
    return word_subwords([word], [[subword]])


def test_wrong_requests() -> None:
    with pytest.raises(ValueError, match="word 3 and subword 0 for 3 words"):
        subword_vectors(incidence(3, 0), MATRIX, 2)
    with pytest.raises(ValueError, match="subword 2 for 3 words and 2 tokens"):
        subword_vectors(incidence(0, 2), MATRIX, 2)
    with pytest.raises(ValueError, match="finite and not below 0"):
        subword_vectors(incidence(0, 0), MATRIX, 2, word_weights=np.array([1.0, -1.0, 1.0]))
    with pytest.raises(ValueError, match="values that are not finite"):
        subword_vectors(incidence(0, 0), np.array([[np.nan]], dtype=np.float32), 2)
