from __future__ import annotations

import numpy as np
import pytest

from polycompress.embeddings.word_vectors import (
    WordVectors,
    join,
    most_frequent,
    of_one_language,
    select_languages,
)
from polycompress.errors import InputError


def _vectors(code: str, words: list[str], counts: list[int] | None = None) -> WordVectors:
    matrix = np.arange(2 * len(words), dtype=np.float32).reshape(-1, 2)
    return of_one_language(code, words, matrix, None if counts is None else np.array(counts, np.int64))


def test_a_spelling_may_be_a_word_of_two_languages_but_not_twice_of_one() -> None:
    both = join([_vectors("deu-Latn", ["gift", "hund"]), _vectors("eng-Latn", ["gift"])])
    assert (len(both), both.width, both.languages) == (3, 2, ("deu-Latn", "eng-Latn"))
    assert both.language_of.tolist() == [0, 0, 1]
    with pytest.raises(InputError, match=r"'gift' \(deu-Latn\): more than one vector"):
        _vectors("deu-Latn", ["gift", "hund", "gift"])


def test_values_that_are_not_finite_are_named_by_their_words() -> None:
    with pytest.raises(InputError, match=r"'b' \(yor-Latn\), 'c' \(yor-Latn\): NaN"):
        of_one_language("yor-Latn", ["a", "b", "c"], np.array([[1], [np.nan], [np.inf]], np.float32))


def test_the_most_frequent_of_each_language_are_kept_in_order() -> None:
    both = join([_vectors("deu-Latn", ["a", "b", "c"], [1, 5, 5]), _vectors("eng-Latn", ["d", "e"], [1, 2])])
    assert most_frequent(both, 2).words == ("b", "c", "d", "e")
    assert most_frequent(both, 1).words == ("b", "e")
    without = join([_vectors("deu-Latn", ["a", "b", "c"]), _vectors("eng-Latn", ["d", "e"], [1, 2])])
    assert without.counts is None
    assert most_frequent(without, 1).words == ("a", "d")
    with pytest.raises(ValueError, match="at least one"):
        most_frequent(both, 0)


def test_selecting_keeps_rows_and_renames_places() -> None:
    both = join([_vectors("deu-Latn", ["a"]), _vectors("eng-Latn", ["b", "c"])])
    one = select_languages(both, ["eng-Latn"])
    assert (one.words, one.languages, one.language_of.tolist()) == (("b", "c"), ("eng-Latn",), [0, 0])
    assert np.array_equal(one.matrix, both.matrix[1:])
    with pytest.raises(InputError, match="no vectors of yor-Latn, only of deu-Latn, eng-Latn"):
        select_languages(both, ["eng-Latn", "yor-Latn"])


def test_parts_that_do_not_go_together_are_refused() -> None:
    wide = of_one_language("eng-Latn", ["x"], np.zeros((1, 3), np.float32))
    with pytest.raises(InputError, match="2 of deu-Latn; 3 of eng-Latn"):
        join([_vectors("deu-Latn", ["a"]), wide])
    with pytest.raises(InputError, match="deu-Latn more than once"):
        join([_vectors("deu-Latn", ["a"]), _vectors("deu-Latn", ["b"])])
