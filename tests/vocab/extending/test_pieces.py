from __future__ import annotations

import pytest

from polycompress.vocab.alphabet import byte_symbols
from polycompress.vocab.extending.pieces import Extended, is_word_part


def spelt(text: str) -> str:
    return "".join(byte_symbols()[byte] for byte in text.encode())


@pytest.mark.parametrize(
    ("piece", "fits"),
    [
        ("▁ọ́", True),
        ("n'ọ", True),
        ("▁n’", True),
        ("क्\u200dष", True),
        ("'s", False),
        ("▁'s", False),
        ("▁", False),
        ("", False),
        ("a.", False),
        ("▁19", False),
        ("a1", False),
        ("a▁b", False),
    ],
)
def test_letters_and_what_stands_among_them(piece: str, fits: bool) -> None:
    assert is_word_part(piece, mark="▁") is fits


def test_marks_of_the_model_do_not_count() -> None:
    assert is_word_part("##ab", mark="▁", prefix="##")
    assert is_word_part("ab</w>", mark="▁", suffix="</w>")
    assert not is_word_part("##", mark="▁", prefix="##")


def test_bytes_are_read() -> None:
    assert is_word_part(spelt(" ọn"), mark="▁", byte_level=True)
    assert is_word_part(spelt("ọ")[:2], mark="▁", byte_level=True)
    for text in (" ", "a,", " 1"):
        assert not is_word_part(spelt(text), mark="▁", byte_level=True)
    assert not is_word_part("日", mark="▁", byte_level=True)


def test_ids_of_new_pieces() -> None:
    extended = Extended(document={}, old_size=7, pieces=("a", "b"), promoted=())
    assert list(extended.added) == [7, 8]
