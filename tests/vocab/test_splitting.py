"""Words may only be cut apart where that provably changes nothing."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from polycompress.vocab.splitting import (
    INDEPENDENT_PATTERNS,
    MAX_SPANNING,
    WordRule,
    harmful_among,
    not_plain,
    word_rule,
)

TEXT = [
    "Der schnelle braune Fuchs springt über den faulen Hund, 1999 und 2024.",
    "the quick brown fox can't jump over 3,000 lazy dogs (really)!",
    "Şu İstanbul'da yağmur yağıyor — ışık söndü.",
    "कुत्ता तेज़ दौड़ता है और बिल्ली सोती है।",
    "это простое предложение для проверки",
    "这是一个简单的句子 没有空格",
]


def _trained(kind: str) -> Tokenizer:
    if kind.startswith("unigram"):
        tokenizer = Tokenizer(models.Unigram())
        trainer: Any = trainers.UnigramTrainer(
            vocab_size=300, special_tokens=["<unk>", "<s>"], unk_token="<unk>"
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
            prepend_scheme="never" if "never" in kind else "always"
        )
        tokenizer.normalizer = normalizers.NFKC()
    elif kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[UNK]", "[CLS]"])
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    elif kind.startswith("bytes"):
        tokenizer = Tokenizer(models.BPE())
        trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space="prefix" in kind)
        tokenizer.decoder = decoders.ByteLevel()
        if "o200k" in kind:
            (pattern,) = (known for known in INDEPENDENT_PATTERNS if r"\p{Lu}" in known)
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
                [
                    pre_tokenizers.Split(Regex(pattern), "removed", invert=True),
                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
                ]
            )
    else:
        tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
        trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>"])
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.train_from_iterator(TEXT, trainer)
        tokenizer.pre_tokenizer = (
            None  # as in Llama's: the normaliser does it all, lines are one piece of text
        )
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        return tokenizer
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer


KINDS = ["unigram", "unigram never", "wordpiece", "bytes", "bytes prefix", "bytes o200k", "sentencepiece bpe"]
TOKENIZERS = {kind: _trained(kind) for kind in KINDS}
WORDS = st.text(
    st.sampled_from("aeinrstDF. ,'-(\"1209ßüşİıक्ताё这\u0301\u200d\u00a0\u00ad\u0600\u2581¨´\t#"),
    min_size=0,
    max_size=12,
)


def _state(tokenizer: Tokenizer) -> dict[str, Any]:
    import json

    state: dict[str, Any] = json.loads(tokenizer.to_str())
    return state


@pytest.mark.parametrize("kind", KINDS)
@given(line=st.lists(WORDS, min_size=1, max_size=6).map(" ".join))
def test_a_plain_line_tokenises_as_its_words_do(kind: str, line: str) -> None:
    tokenizer = TOKENIZERS[kind]
    rule = word_rule(_state(tokenizer))
    assert rule.independent, rule.reason
    if not_plain(line) or not line:
        return
    words = line.split(" ")
    parts = [tokenizer.encode((rule.lead if index else "") + word) for index, word in enumerate(words)]
    assert tokenizer.encode(line).ids == [token for part in parts for token in part.ids]
    if not rule.first_differs:
        again = [tokenizer.encode(rule.lead + word) for word in words]
        assert tokenizer.encode(line).ids == [token for part in again for token in part.ids]


def _harmful(words: list[str], rule: WordRule) -> set[str]:
    return harmful_among("\n".join(["", *words]), rule)


def _without_pre_tokenizer(*pieces: str) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0), *((piece, -2.0) for piece in pieces)], unk_id=0))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    return tokenizer


@pytest.mark.parametrize("piece", ["▁a▁b", "a▁", ">▁</"])
def test_lines_with_a_piece_that_spans_words_are_found(piece: str) -> None:
    rule = word_rule(_state(_without_pre_tokenizer("▁", "a", "b", piece)))
    text = piece.replace("▁", " ").lstrip()
    assert rule.independent
    assert rule.whole is not None and rule.whole.search(f"b{text}b") and not rule.whole.search("b b ba")
    assert rule.across is not None and rule.across.search(f"b{text}b")


def test_pieces_that_span_words_forbid_cutting() -> None:
    many = _without_pre_tokenizer(*(f"{number}▁a" for number in range(MAX_SPANNING + 1)))
    folded = _without_pre_tokenizer("▁", "a▁b")
    folded.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" ", "▁")])
    for tokenizer in (many, folded):
        rule = word_rule(_state(tokenizer))
        assert not rule.independent
        assert "span several words" in rule.reason


@pytest.mark.parametrize("pattern", [r"\w+ \w+", r" ?[a-z]+|.*"], ids=["two words", "greedy rest"])
def test_an_unknown_pattern_forbids_cutting(pattern: str) -> None:
    tokenizer = _trained("bytes")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(use_regex=False)]
    )
    rule = word_rule(_state(tokenizer))
    assert not rule.independent
    assert pattern in rule.reason.replace("\\\\", "\\")


@pytest.mark.parametrize(
    "line",
    [
        "´n Bier",
        "a ´n",
        "a¨ b",
        "two  spaces",
        " lead",
        "trail ",
        "tab\there",
        "nb\u00a0sp",
        "a \u0301b",
        "a\u200d b",
        "x \u00ady",
    ],
)
def test_lines_a_normaliser_may_see_across_are_not_plain(line: str) -> None:
    assert not_plain(line)


def test_ordinary_lines_are_plain() -> None:
    assert not any(map(not_plain, TEXT))


def test_the_characters_that_become_a_space_and_more_are_known() -> None:
    for number in range(0x110000):
        character = chr(number)
        forms = [unicodedata.normalize(form, character) for form in ("NFC", "NFKC", "NFKD")]
        if not character.isspace() and any(form[0].isspace() or form[-1].isspace() for form in forms):
            assert not_plain(f"{character} a"), hex(number)
            assert not_plain(f"a {character}"), hex(number)


@given(words=st.lists(WORDS.map(lambda text: text.replace(" ", "").replace("\n", "")), max_size=12))
def test_harmful_words_are_those_whose_lines_are_not_plain(words: list[str]) -> None:
    rule = WordRule(independent=True)
    expected = {word for word in words if word and not_plain(f"a {word} a")}
    assert _harmful(words, rule) == expected


def test_ordinary_words_are_harmless() -> None:
    assert not _harmful(" ".join(TEXT[:3]).split(" "), WordRule(independent=True))


def test_words_with_an_added_token_are_harmful() -> None:
    tokenizer = _trained("bytes")
    tokenizer.add_tokens(["<mask>", "of the"])
    words = ["a<mask>b", "of", "<mask>", "mask"]
    assert _harmful(words, word_rule(_state(tokenizer))) == {"a<mask>b", "<mask>"}
    tokenizer.add_tokens([f"<extra_{number}>" for number in range(40)])
    assert _harmful([*words, "<extra_7>."], word_rule(_state(tokenizer))) == {
        "a<mask>b",
        "<mask>",
        "<extra_7>.",
    }


def test_added_tokens_are_found_in_text() -> None:
    tokenizer = _trained("bytes")
    assert word_rule(_state(tokenizer)).whole is None
    tokenizer.add_tokens(["<mask>", "[CLS]", "of the", "\n"])
    rule = word_rule(_state(tokenizer))
    assert rule.whole is not None and rule.across is not None
    assert rule.whole.search("a <mask> b") and not rule.whole.search("a mask\nb")
    assert rule.across.search("one of them") and not rule.across.search("a <mask> b")
