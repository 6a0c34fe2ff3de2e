"""Counting by distinct word equals tokenising every line."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers

from polycompress.vocab import counting, word_counter, word_lines, word_table
from polycompress.vocab.counting import count_texts, count_weighted
from polycompress.vocab.splitting import WordRule, word_rule
from tests.vocab.test_splitting import KINDS, TEXT, TOKENIZERS

LINES = st.lists(
    st.one_of(
        st.sampled_from(TEXT),
        st.lists(
            st.sampled_from(["der", "Hund", "fox", "can't", "1999", "über", "ıs", "", "कुत्ता", "a\u00a0b"])
        ).map(" ".join),
    ).filter(bool),
    max_size=12,
)


def _by_line(tokenizer: Tokenizer, lines: list[str]) -> dict[int, int]:
    """Tokens of every line on its own."""
    found = Counter(token for line in lines for token in tokenizer.encode(line, add_special_tokens=False).ids)
    return {token: found[token] for token in range(tokenizer.get_vocab_size())}


@pytest.mark.parametrize("kind", KINDS)
@given(lines=LINES)
def test_counts_equal_those_of_whole_lines(kind: str, lines: list[str]) -> None:
    tokenizer = TOKENIZERS[kind]
    size = tokenizer.get_vocab_size()
    tally = count_texts(tokenizer, json.loads(tokenizer.to_str()), lines, size)
    expected = _by_line(tokenizer, lines)
    assert dict(enumerate(tally.counts.tolist())) == expected
    assert tally.texts == len(lines)
    assert tally.characters == sum(map(len, lines))
    assert tally.bytes == sum(len(line.encode()) for line in lines)
    assert tally.seen_once == sum(count == 1 for count in expected.values())


def test_memory_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = TOKENIZERS["unigram"]
    state = json.loads(tokenizer.to_str())
    once = count_texts(tokenizer, state, TEXT * 3, tokenizer.get_vocab_size())
    monkeypatch.setattr(word_counter, "MAX_DISTINCT_WORDS", 3)
    monkeypatch.setattr(counting, "LINES_PER_BATCH", 2)
    again = count_texts(tokenizer, state, TEXT * 3, tokenizer.get_vocab_size())
    assert np.array_equal(once.counts, again.counts)


def test_a_wrong_rule_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = TOKENIZERS["bytes"]  # its words need the space in front
    monkeypatch.setattr(counting, "word_rule", lambda _: WordRule(independent=True, lead=""))
    tally = count_texts(tokenizer, json.loads(tokenizer.to_str()), TEXT, tokenizer.get_vocab_size())
    expected = sum(len(tokenizer.encode(line).ids) for line in TEXT)
    assert not tally.rule.independent
    assert tally.tokens == expected


def test_a_wrong_rule_is_found_out_behind_lines_that_cannot_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = TOKENIZERS["bytes"]
    monkeypatch.setattr(counting, "word_rule", lambda _: WordRule(independent=True, lead=""))
    monkeypatch.setattr(counting, "LINES_PER_BATCH", 2)
    monkeypatch.setattr(word_counter, "JUDGED_CHARACTERS", 1)
    monkeypatch.setattr(word_counter, "NEW_SHARE", 9.0)
    lines = ["Hund", "Fuchs", "Hund", "Fuchs", *TEXT]  # one word a line: any rule holds
    tally = count_texts(tokenizer, json.loads(tokenizer.to_str()), lines, tokenizer.get_vocab_size())
    assert not tally.rule.independent
    assert dict(enumerate(tally.counts.tolist())) == _by_line(tokenizer, lines)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_multiply_counts(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]
    rule = word_rule(json.loads(tokenizer.to_str()))
    groups = {0.5: ["Hund", "Fuchs", "über"], 0.25: ["1999"] * 200}
    totals = count_weighted(tokenizer, rule, groups, tokenizer.get_vocab_size())
    expected = np.zeros(tokenizer.get_vocab_size())
    for weight, words in groups.items():
        for word in words:
            np.add.at(expected, tokenizer.encode(rule.lead + word).ids, weight)
    assert np.allclose(totals, expected)


@given(
    lines=st.lists(
        st.lists(st.sampled_from(["<b>", "</b>", "der", "of", "the", "Hund"]), min_size=1).map(" ".join),
        max_size=9,
    )
)
def test_tokens_that_span_words_are_counted_where_they_are(lines: list[str]) -> None:
    vocab = ["▁", *"<>/bderofthHun", "</", "▁</", ">▁</", "▁d", "▁de", "▁der"]
    merges = [("<", "/"), ("▁", "</"), (">", "▁</"), ("▁", "d"), ("▁d", "e"), ("▁de", "r")]
    tokenizer = Tokenizer(models.BPE({piece: number for number, piece in enumerate(vocab)}, merges))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.add_tokens(["of the"])
    state = json.loads(tokenizer.to_str())
    assert word_rule(state).independent
    tally = count_texts(tokenizer, state, lines, tokenizer.get_vocab_size())
    expected = Counter(token for line in lines for token in tokenizer.encode(line).ids)
    assert {token: count for token, count in enumerate(tally.counts.tolist()) if count} == expected


@pytest.mark.parametrize("kind", KINDS)
@given(lines=LINES)
def test_text_that_does_not_repeat_is_counted_as_it_is(kind: str, lines: list[str]) -> None:
    tokenizer = TOKENIZERS[kind]
    size = tokenizer.get_vocab_size()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_counter, "JUDGED_CHARACTERS", 8)
        patch.setattr(word_counter, "NEW_SHARE", 0.0)
        patch.setattr(word_lines, "JOINED_CHARACTERS", 60)
        tally = count_texts(tokenizer, json.loads(tokenizer.to_str()), lines, size)
    assert dict(enumerate(tally.counts.tolist())) == _by_line(tokenizer, lines)


@pytest.mark.parametrize("kind", KINDS)
@given(lines=LINES, room=st.integers(1, 40))
def test_making_room_changes_nothing(kind: str, lines: list[str], room: int) -> None:
    tokenizer = TOKENIZERS[kind]
    size = tokenizer.get_vocab_size()
    state = json.loads(tokenizer.to_str())
    once = count_texts(tokenizer, state, lines, size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_counter, "NEW_SHARE", 9.0)  # words are counted whether they repeat or not
        patch.setattr(word_counter, "MAX_DISTINCT_WORDS", room)
        patch.setattr(word_lines, "WORDS_PER_LINE", 3)
        patch.setattr(counting, "LINES_PER_BATCH", 2)
        again = count_texts(tokenizer, state, lines, size)
    assert np.array_equal(once.counts, again.counts)


def test_chinese_is_not_cut_into_words_that_never_repeat() -> None:
    tokenizer = TOKENIZERS["unigram"]
    lines = [
        "".join(chr(0x4E00 + (number * 7919 + place * 104729) % 20000) for place in range(50))
        for number in range(4000)
    ]
    tally = count_texts(tokenizer, json.loads(tokenizer.to_str()), lines, tokenizer.get_vocab_size())
    assert tally.tokenised == pytest.approx(tally.bytes, rel=0.01)
    expected = sum(len(encoding.ids) for encoding in tokenizer.encode_batch(lines, add_special_tokens=False))
    assert tally.tokens == expected


@pytest.mark.parametrize("kind", KINDS)
@given(lines=LINES, room=st.integers(1, 40))
def test_a_table_counts_as_python_does(kind: str, lines: list[str], room: int) -> None:
    pytest.importorskip("pyarrow")
    tokenizer = TOKENIZERS[kind]
    size = tokenizer.get_vocab_size()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_counter, "TABLE_FROM", 0)
        patch.setattr(word_counter, "TABLE_CHARACTERS", room)
        patch.setattr(word_counter, "NEW_SHARE", 9.0)  # words are counted whether they repeat or not
        patch.setattr(word_counter, "MAX_DISTINCT_WORDS", room)
        patch.setattr(word_table, "MAX_WAITING_WORDS", room)
        patch.setattr(word_lines, "WORDS_PER_LINE", 3)
        patch.setattr(word_counter, "JUDGED_CHARACTERS", 1)
        patch.setattr(counting, "LINES_PER_BATCH", 2)
        tally = count_texts(tokenizer, json.loads(tokenizer.to_str()), lines, size)
    assert dict(enumerate(tally.counts.tolist())) == _by_line(tokenizer, lines)


def test_real_text_is_counted_in_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    used: list[int] = []
    add = word_table.WordTable.add

    def seen(table: word_table.WordTable, lines: list[str], rule: WordRule) -> tuple[list[int], int]:
        used.append(len(lines))
        return add(table, lines, rule)

    monkeypatch.setattr(word_table.WordTable, "add", seen)
    monkeypatch.setattr(word_counter, "TABLE_FROM", 1 << 14)
    monkeypatch.setattr(word_counter, "TABLE_CHARACTERS", 1 << 15)
    for kind in ("unigram", "bytes"):
        tokenizer = TOKENIZERS[kind]
        words = [text for line in TEXT for text in line.split(" ") if text]
        lines = [
            " ".join(words[(7 * place + number) % len(words)] for place in range(number % 23 + 1))
            for number in range(6000)
        ]
        tally = count_texts(tokenizer, json.loads(tokenizer.to_str()), lines, tokenizer.get_vocab_size())
        every = tokenizer.encode_batch(lines, add_special_tokens=False)
        expected = Counter(token for encoding in every for token in encoding.ids)
        assert {token: count for token, count in enumerate(tally.counts.tolist()) if count} == expected
        assert tally.tokenised < tally.bytes / 2
    assert sum(used) > 6000  # of both: most lines
