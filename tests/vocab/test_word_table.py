"""Words counted by Arrow equal those counted by Python."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.vocab.splitting import WordRule, not_plain
from polycompress.vocab.word_table import WordTable, chunks

pytest.importorskip("pyarrow")

PLAIN = st.lists(st.text(st.sampled_from("abäß字😀"), min_size=1, max_size=3), min_size=1, max_size=6).map(
    " ".join
)
BATCHES = st.lists(st.lists(PLAIN, min_size=1, max_size=5), max_size=5)


def _handed_out(table: WordTable, *, once: bool = False) -> dict[str, int]:
    words = table.pop(once=once)
    found: dict[str, int] = {}
    for first in (True, False):
        lead = "\n" if first else " "
        for count, text in chunks(words, 2, first=first):
            assert text.startswith(lead)
            for word in text[1:].split(lead):
                assert lead + word not in found
                found[lead + word] = count
    return found


@given(batches=BATCHES, first_differs=st.booleans())
def test_counts_are_those_of_the_words(batches: list[list[str]], first_differs: bool) -> None:
    rule = WordRule(independent=True, first_differs=first_differs)
    table = WordTable()
    expected: Counter[str] = Counter()
    for lines in batches:
        left_out, _ = table.add(lines, rule)
        assert left_out == []
        for line in lines:
            for place, word in enumerate(line.split(" ")):
                expected["\n" + word if first_differs and place == 0 else " " + word] += 1
    once = _handed_out(table, once=True)
    assert once == {word: 1 for word, count in expected.items() if count == 1}
    assert once | _handed_out(table) == expected
    assert _handed_out(table) == {}


@given(
    lines=st.lists(st.text(st.sampled_from("ab \u00a0\u0301"), max_size=8), min_size=1, max_size=8),
    first_differs=st.booleans(),
)
def test_lines_that_are_not_plain_are_left_out_whole(lines: list[str], first_differs: bool) -> None:
    table = WordTable()
    left_out, _ = table.add(lines, WordRule(independent=True, first_differs=first_differs))
    assert left_out == [number for number, line in enumerate(lines) if not_plain(line) or not line]
    kept = [line for number, line in enumerate(lines) if number not in left_out]
    assert sum(_handed_out(table).values()) == sum(len(line.split(" ")) for line in kept)


def test_words_counted_elsewhere_are_taken_over() -> None:
    table = WordTable()
    table.take_over({"a": 2, "gone": 0, " a": 3, " b": 1}, first_differs=True)
    table.add(["a b"], WordRule(independent=True, first_differs=True))
    assert _handed_out(table) == {"\na": 3, " a": 3, " b": 2}


def test_words_without_first_ones_are_taken_over() -> None:
    table = WordTable()
    table.take_over({"a": 2, "gone": 0, "b": 1}, first_differs=False)
    table.add(["a b"], WordRule(independent=True, first_differs=False))
    assert _handed_out(table) == {" a": 3, " b": 2}
