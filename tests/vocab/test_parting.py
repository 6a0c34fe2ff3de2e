"""Lines of scripts without spaces are cut beside marks only where that provably changes nothing."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from polycompress.vocab import counting, word_counter
from polycompress.vocab.counting import count_texts
from polycompress.vocab.parting import BLOCKS, LETTER, MARK, codes_of, kinds_in, part
from polycompress.vocab.splitting import INDEPENDENT_PATTERNS, WordRule, word_rule

CERTAIN = [
    chr(code) for begin, end in BLOCKS for code in range(begin, end + 1) if kinds_in(codes_of(chr(code)))[0]
]
THAI = [
    "เด็กผู้หญิงกำลังอ่านหนังสืออยู่ที่บ้านของเธอ",
    "แมวตัวนี้ชอบกินปลา และ นอนหลับทั้งวัน 1999",
    "น้ำในแม่น้ำใสมากในฤดูหนาวที่นี่ (really)!",
    "ฉันรักแม่ของฉันมากที่สุดในโลกนี้เลย",
    "ខ្ញុំចូលចិត្តអានសៀវភៅនៅផ្ទះ ကျွန်တော်စာဖတ်တယ်",
]
FORMS: dict[str, Any] = {
    "": None,
    "NFC": normalizers.NFC(),
    "NFD": normalizers.NFD(),
    "NFKC": normalizers.NFKC(),
    "NFKD": normalizers.NFKD(),
}
KINDS = ["gpt2", "llama3"]


def _split(kind: str) -> Any:
    if kind == "gpt2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    mark = {"llama3": r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*", "o200k": r"\p{Lu}"}[kind]
    (pattern,) = (known for known in INDEPENDENT_PATTERNS if mark in known)
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _trained(kind: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = _split(kind), decoders.ByteLevel()
    trainer: Any = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(THAI, trainer)
    return tokenizer


TOKENIZERS = {kind: _trained(kind) for kind in KINDS}
LINES = st.lists(
    st.one_of(
        st.sampled_from(THAI),
        st.lists(st.sampled_from(CERTAIN), min_size=1, max_size=20).map("".join),
        st.text(st.sampled_from("กขงาิีุ่้์ํำๆ๑ฯ ກັຳខ្ញុံကျွန်ဦab's19.\u0301\u0e4d\u200b\u00a0\n"), max_size=20),
    ),
    max_size=8,
)


def _by_line(tokenizer: Tokenizer, lines: list[str]) -> dict[int, int]:
    found = Counter(token for line in lines for token in tokenizer.encode(line).ids)
    return {token: found[token] for token in range(tokenizer.get_vocab_size())}


def _state(tokenizer: Tokenizer) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(tokenizer.to_str())
    return state


def test_certain_characters_are_never_joined_to_others_or_taken_apart() -> None:
    joined = set()
    for code in range(sys.maxunicode + 1):
        made = unicodedata.decomposition(chr(code))
        if made and not made.startswith("<"):
            joined |= {chr(code), *(chr(int(part, 16)) for part in made.split())}
    assert joined.isdisjoint(CERTAIN)
    assert len(CERTAIN) > 200


def test_the_library_takes_the_same_characters_for_letters_and_marks() -> None:
    split = _split("gpt2")
    for character in CERTAIN:
        kind = kinds_in(codes_of(character))[0]
        assert (
            len(split.pre_tokenize_str(f"a{character}"))
            == kind
            == {"L": LETTER, "M": MARK}[unicodedata.category(character)[0]]
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
@given(lines=LINES)
def test_the_parts_of_a_line_are_tokenised_as_in_the_line(kind: str, form: str, lines: list[str]) -> None:
    tokenizer = Tokenizer.from_str(TOKENIZERS[kind].to_str())
    if form:
        tokenizer.normalizer = FORMS[form]
    rule = word_rule(_state(tokenizer))
    assert rule.marks == {"gpt2": "apart", "llama3": "behind letters"}[kind]
    for line in lines:
        line = line.replace("\n", "")
        parts = part(line, before_letters=rule.marks == "apart").split("\n")
        assert "".join(parts) == line
        assert tokenizer.encode(line).ids == [token for one in parts for token in tokenizer.encode(one).ids]


@pytest.mark.parametrize("table", [False, True], ids=["python", "table"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
@given(lines=LINES)
def test_counts_of_parts_equal_those_of_lines(kind: str, form: str, table: bool, lines: list[str]) -> None:
    tokenizer = Tokenizer.from_str(TOKENIZERS[kind].to_str())
    if form:
        tokenizer.normalizer = FORMS[form]
    lines = [*THAI, *lines]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_counter, "JUDGED_CHARACTERS", 40)
        patch.setattr(word_counter, "NEW_SHARE", 0.9)
        patch.setattr(word_counter, "TABLE_FROM", 0 if table else 1 << 30)
        patch.setattr(word_counter, "TABLE_CHARACTERS", 1)
        patch.setattr(counting, "LINES_PER_BATCH", 3)
        tally = count_texts(tokenizer, _state(tokenizer), lines, tokenizer.get_vocab_size())
    assert dict(enumerate(tally.counts.tolist())) == _by_line(tokenizer, lines)


@pytest.mark.parametrize("kind", KINDS)
def test_thai_repeats_in_parts(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]
    lines = [(first + second).replace(" ", "") for first in THAI for second in THAI]
    tally = count_texts(tokenizer, _state(tokenizer), lines, tokenizer.get_vocab_size())
    assert tally.tokenised < 0.5 * tally.bytes
    assert dict(enumerate(tally.counts.tolist())) == _by_line(tokenizer, lines)


def test_what_looks_across_marks_forbids_cutting_beside_them() -> None:
    assert word_rule(_state(_trained("o200k"))).marks == "anywhere"
    tokenizer = Tokenizer.from_str(TOKENIZERS["gpt2"].to_str())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.StripAccents()])
    assert word_rule(_state(tokenizer)).marks == "anywhere"
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_tokens(["<x>"])
    assert word_rule(_state(tokenizer)).marks == "apart"
    tokenizer.add_tokens(["กิน"])
    assert word_rule(_state(tokenizer)).marks == "anywhere"
    tokenizer = Tokenizer.from_str(TOKENIZERS["gpt2"].to_str())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert word_rule(_state(tokenizer)).marks == "anywhere"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), _split("gpt2")])
    assert word_rule(_state(tokenizer)).marks == "anywhere"


def test_a_wrong_rule_about_marks_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = TOKENIZERS["llama3"]  # takes a mark along with the letters behind it
    right = word_rule(_state(tokenizer))
    wrong = WordRule(
        independent=True, lead=right.lead, first_differs=True, line_feeds=right.line_feeds, marks="apart"
    )
    monkeypatch.setattr(counting, "word_rule", lambda _: wrong)
    lines = [f"{first} {second}" for first in THAI for second in THAI]
    tally = count_texts(tokenizer, _state(tokenizer), lines, tokenizer.get_vocab_size())
    assert tally.rule.independent
    assert tally.rule.marks == "anywhere"
    assert dict(enumerate(tally.counts.tolist())) == _by_line(tokenizer, lines)
