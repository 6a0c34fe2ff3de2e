from __future__ import annotations

import unicodedata

import pytest

from polycompress.embeddings.word_splitting import splitter
from polycompress.languages import find_language


@pytest.mark.parametrize(
    ("code", "text", "words"),
    [
        ("en", "Don't pay 3.50, twenty-one!", ["don't", "pay", "3.50", "twenty-one"]),
        ("yo", "Ọjọ́ ọ̀sẹ̀; ẹ̀yin.", ["ọjọ́", "ọ̀sẹ̀", "ẹ̀yin"]),
        ("tr", "IŞIK İZMİR", ["ışık", "izmir"]),
        ("th", "กินข้าว ok", ["กิ", "น", "ข้", "า", "ว", "ok"]),
        ("zh", "我们喜欢NLP 2024", ["我们", "喜欢", "nlp", "2024"]),
        ("bo", "བོད་ཡིག", ["བོད", "ཡིག"]),
        ("ja", "", []),
    ],
)
def test_words(code: str, text: str, words: list[str]) -> None:
    expected = [unicodedata.normalize("NFC", word) for word in words]
    assert splitter(find_language(code))(text) == expected


def test_case_is_kept_on_request_and_spellings_are_composed() -> None:
    cut = splitter(find_language("de"), lower=False)
    assert cut("Der gru\u0308ne Hut") == ["Der", "gr\u00fcne", "Hut"]
    assert cut("a" * 101 + " b") == ["b"]
