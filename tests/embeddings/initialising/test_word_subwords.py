"""Variants of words, the subwords in them, and counts by language."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.embeddings.initialising.word_subwords import (
    counts_by_language,
    joined,
    language_coverage,
    word_subwords,
    word_variants,
)


@pytest.mark.parametrize(
    ("word", "language", "variants"),
    [
        ("house", "", ("house", " house", " House")),
        (" house", "eng-Latn", (" house", " House")),
        ("House", "", ("House", " House")),
        ("家", "zho-Hans", ("家", " 家")),
        ("ọmọ", "yor-Latn", ("ọmọ", " ọmọ", " Ọmọ")),
        ("ijs", "nld-Latn", ("ijs", " ijs", " Ijs")),
        ("iş", "tur-Latn", ("iş", " iş", " İş")),
        ("ǆep", "hrv-Latn", ("ǆep", " ǆep", " ǅep")),
        ("a:b", "", ("a:b", " a:b", " A:b")),
        (" ", "", ()),
        ("", "", ()),
    ],
)
def test_variants(word: str, language: str, variants: tuple[str, ...]) -> None:
    assert word_variants(word, language) == variants


@given(st.text(max_size=8))
def test_variants_are_distinct_and_few(word: str) -> None:
    made = word_variants(word)
    assert len(set(made)) == len(made) <= 3
    assert bool(made) == bool(word.strip())


def pairs(word_of: list[int], encodings: list[list[int]]) -> list[tuple[int, int, int]]:
    found = word_subwords(word_of, encodings)
    return sorted(zip(found.words.tolist(), found.subwords.tolist(), found.pieces.tolist(), strict=True))


def test_a_subword_counts_once_a_variant() -> None:
    assert pairs([4, 4, 0], [[0, 7, 7], [0], []]) == [(4, 0, 1), (4, 0, 3), (4, 7, 3)]


@given(
    st.lists(st.tuples(st.integers(0, 5), st.lists(st.integers(0, 9), max_size=5)), max_size=12), st.data()
)
def test_batches_and_order_cannot_be_seen(rows: list[tuple[int, list[int]]], data: st.DataObject) -> None:
    whole = pairs([word for word, _ in rows], [ids for _, ids in rows])
    other = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows)))
    both = [
        word_subwords([word for word, _ in part], [ids for _, ids in part])
        for part in (other[:cut], other[cut:])
    ]
    found = joined(both)
    assert sorted(zip(found.words, found.subwords, found.pieces, strict=True)) == whole
    assert whole == sorted((word, one, len(ids)) for word, ids in rows for one in set(ids))


def test_encodings_must_fit() -> None:
    with pytest.raises(ValueError, match="1 encodings for 2 variants"):
        word_subwords([0, 1], [[1]])


def test_counts_by_language() -> None:
    found = word_subwords([0, 1, 1], [[0, 1], [1], [2]])
    held = language_coverage(found, np.array([0, 1], dtype=np.int16), 2, 5)
    assert held.tolist() == [[True, True, False, False, False], [False, True, True, False, False]]
    rule = np.array([0, 1, 1, 0, 1], dtype=np.uint8)
    assert counts_by_language(rule, held, ["yor-Latn", "ibo-Latn"], ["copied", "drawn"]) == {
        "yor-Latn": {"copied": 1, "drawn": 1},
        "ibo-Latn": {"copied": 0, "drawn": 2},
        "(none)": {"copied": 1, "drawn": 1},
    }
