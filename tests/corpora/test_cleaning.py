from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.corpora.cleaning import CLEANING, clean

LINES = st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=20))
RULES = st.lists(st.sampled_from(list(CLEANING)), unique=True).map(tuple)


@given(LINES, RULES)
def test_lines_are_cleaned_one_by_one(lines: list[str], rules: tuple[str, ...]) -> None:
    together = clean(lines, rules)
    assert len(together) == len(lines)
    assert together == [clean([line], rules)[0] for line in lines]
    assert clean(together, rules) == together or "nfc" in rules


@given(LINES)
def test_normal_form_is_that_of_each_line(lines: list[str]) -> None:
    assert clean(lines, ("nfc",)) == [unicodedata.normalize("NFC", line) for line in lines]


@given(LINES)
def test_collapsed_lines_are_words_with_single_spaces(lines: list[str]) -> None:
    assert clean(lines, ("collapse",)) == [" ".join(line.split()) for line in lines]


@given(LINES)
def test_no_control_character_is_left(lines: list[str]) -> None:
    for line in clean(lines, ("control",)):
        assert not [c for c in line if unicodedata.category(c) in ("Cc", "Zl", "Zp") and c != "\t"]
        assert not [c for c in line if ord(c) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(c) <= 0xFDEF]


@pytest.mark.parametrize(
    ("rules", "line", "cleaned"),
    [
        (("control",), "a\x00b\x07c\td\ufeffe\x7f", "abc\tde"),
        (("control",), "eins\x0czwei\u2028drei\x85vier\rfünf", "eins zwei drei vier fünf"),
        (
            ("control",),
            "می\u200cخواهم क्\u200dष 👩\u200d👧 a\xadb\u200bc\u200e",
            "می\u200cخواهم क्\u200dष 👩\u200d👧 a\xadb\u200bc\u200e",
        ),
        (("nfc",), "Straße a\u0308 \ufb01 \u212b", "Straße ä \ufb01 Å"),
        (("collapse",), "\t eins \u00a0\u3000 zwei  ", "eins zwei"),
        (("control", "collapse"), " \x0c eins\x00 ", "eins"),
        (("collapse", "control", "nfc"), "a\u0308\x0b\x0bb", "ä b"),
        ((), " a\x00  ", " a\x00  "),
    ],
)
def test_examples(rules: tuple[str, ...], line: str, cleaned: str) -> None:
    assert clean([line], rules) == [cleaned]


def test_every_rule_says_what_it_does() -> None:
    assert list(CLEANING) == ["control", "nfc", "collapse"]
    assert all(len(description) > 10 for _, description in CLEANING.values())
