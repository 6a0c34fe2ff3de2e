from __future__ import annotations

import pytest

from polycompress.languages import find_language
from polycompress.ui.samples import OTHERWISE, WORDS, listed_languages, sample_texts
from polycompress.vocab.frequencies import word_buckets


def test_texts_are_frequent_words_of_the_language() -> None:
    first, second = sample_texts("deu-Latn")
    assert len(first.split()) == len(second.split()) == WORDS
    assert not set(first.split()) & set(second.split())
    known = {word for bucket in word_buckets(find_language("de"))[:400] for word in bucket}
    assert set(first.split()) <= known


def test_languages_without_spaces_have_none() -> None:
    first, second = sample_texts("zho-Hans")
    assert first != second
    assert len(first) >= 2 * WORDS
    assert not any(letter.isspace() for letter in first)


def test_languages_without_a_list_have_a_text_all_the_same() -> None:
    assert sample_texts("swh-Latn") == (OTHERWISE, OTHERWISE)


def test_a_models_languages_come_first() -> None:
    listed = listed_languages(["swh-Latn", "deu-Latn"])
    assert list(listed)[:2] == ["swh-Latn", "deu-Latn"]
    assert list(listed).count("deu-Latn") == 1
    assert listed["swh-Latn"] == "Swahili"
    others = list(listed.values())[2:]
    assert others == sorted(others)
    assert len(others) > 20


@pytest.mark.parametrize("code", ["jpn-Jpan", "arb-Arab", "hin-Deva"])
def test_other_scripts_have_words(code: str) -> None:
    first, second = sample_texts(code)
    assert first and second and OTHERWISE not in (first, second)
