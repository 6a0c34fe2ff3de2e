"""Vectors out of character n-grams."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.initialising.ngrams import character_ngrams, ngram_vectors

KNOWN = {"<ab": [1.0, 0.0], "abc": [0.0, 2.0], "c>": [4.0, 4.0]}


def lookup(gram: str) -> NDArray[np.float64] | None:
    return np.array(KNOWN[gram]) if gram in KNOWN else None


def test_ngrams() -> None:
    assert character_ngrams("abcd", 2, 3) == ["ab", "bc", "cd", "abc", "bcd"]
    assert character_ngrams("a", 2, 3) == []


def test_sums_of_known_ngrams() -> None:
    forms = [b" abc", b"abc", None, b" xyz", b"\xe3\x81", b"bc ", b" "]
    vectors, covered = ngram_vectors(forms, lookup, 2, shortest=2, longest=3)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[1, 2], [0, 2], [0, 0], [0, 0], [0, 0], [4, 4], [0, 0]]
    assert covered.tolist() == [True, True, False, False, False, True, False]
