"""Forms that tokens of different tokenizers have in common, and roles of special tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from polycompress.errors import InputError
from polycompress.vocab.alphabet import byte_symbols
from polycompress.vocab.document import parse_document, pieces
from polycompress.vocab.forms import byte_fallback_tokens, named_tokens, token_forms, token_roles
from tests.vocab.documents import (
    bpe,
    bpe_documents,
    document,
    unigram,
    unigram_documents,
    wordpiece,
    wordpiece_documents,
)

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "[GO]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[HALT]", "type_id": 0}},
    ],
    "pair": [],
    "special_tokens": {
        "[GO]": {"id": "[GO]", "ids": [1], "tokens": ["[GO]"]},
        "[HALT]": {"id": "[HALT]", "ids": [0], "tokens": ["[HALT]"]},
    },
}


def as_symbols(text: str | bytes) -> str:
    raw = text.encode() if isinstance(text, str) else text
    return "".join(byte_symbols()[byte] for byte in raw)


def test_unigram_forms() -> None:
    entries = [("<unk>", 0.0), ("▁und", -1.0), ("und", -1.0), ("▁", -1.0), ("<0x41>", -2.0), ("A", -2.0)]
    doc = document(unigram(*entries, byte_fallback=True), "<unk>", "+Wörter")
    assert token_forms(doc) == [None, b" und", b"und", b" ", b"A", b"A", None]
    assert byte_fallback_tokens(doc).tolist() == [False, False, False, False, True, False, False]
    assert named_tokens(doc) == {0: "<unk>", 6: "Wörter"}


def test_without_byte_fallback_such_a_piece_is_text() -> None:
    doc = document(unigram(("<unk>", 0.0), ("<0x41>", -2.0)), "<unk>")
    assert token_forms(doc) == [None, b"<0x41>"]
    assert not byte_fallback_tokens(doc).any()


def test_the_mark_is_the_one_of_the_pre_tokenizer() -> None:
    doc = document(
        unigram(("<unk>", 0.0), ("_a", -1.0), ("▁a", -1.0)),
        "<unk>",
        pre_tokenizer={"type": "Metaspace", "replacement": "_", "prepend_scheme": "always"},
    )
    assert token_forms(doc) == [None, b" a", "▁a".encode()]


def test_wordpiece_forms() -> None:
    doc = document(wordpiece("[UNK]", "und", "##und", ",", "##", "▁a"), "[UNK]")
    assert token_forms(doc) == [None, b" und", b"und", b" ,", b" ##", " ▁a".encode()]


def test_byte_level_forms_are_bytes_not_text() -> None:
    whole, first, second = "日".encode(), "日".encode()[:1], "日".encode()[1:]
    tokens = [as_symbols(piece) for piece in (" und", "und", whole, first, second)]
    doc = document(bpe([*tokens, "a b"], []), pre_tokenizer=BYTE_LEVEL)
    assert token_forms(doc) == [b" und", b"und", whole, first, second, b"a b"]
    assert len(set(token_forms(doc))) == 6


def test_end_of_word_marks_are_spaces_behind() -> None:
    doc = document(bpe(["a", "a</w>", "</w>"], [], end_of_word_suffix="</w>"), pre_tokenizer=BYTE_LEVEL)
    assert token_forms(doc) == [b"a", b"a ", b" "]


def test_prefix_of_bpe_pieces() -> None:
    doc = document(bpe(["a", "@@a"], [], continuing_subword_prefix="@@"))
    assert token_forms(doc) == [b" a", b"a"]


def test_gaps_have_no_form() -> None:
    doc = document({**bpe([], []), "vocab": {"a": 0, "b": 2}})
    assert token_forms(doc) == [b"a", None, b"b"]
    assert named_tokens(doc) == {}


@given(st.data())
def test_every_token_has_a_form_or_a_name(data: st.DataObject) -> None:
    kinds = [unigram_documents(), bpe_documents(), wordpiece_documents()]
    doc = data.draw(data.draw(st.sampled_from(kinds)))
    forms, names = token_forms(doc), named_tokens(doc)
    for number, piece in enumerate(pieces(doc)):
        assert (forms[number] is None) == (piece is None or number in names)


def trained_unigram(lines: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def trained_byte_level(lines: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def trained_wordpiece(lines: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=["[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


LINES = ["Ọjọ́ kan ni ọmọ náà lọ", "Ụlọ akwụkwọ anyị dị mma", "die Länder und die Flüsse"] * 5


@pytest.mark.parametrize("train", [trained_unigram, trained_byte_level, trained_wordpiece])
def test_forms_of_a_text_spell_it(train: Callable[[list[str]], Tokenizer]) -> None:
    tokenizer = train(LINES)
    forms = token_forms(parse_document(tokenizer.to_str().encode()))
    for line in LINES[:3]:
        found = [forms[number] for number in tokenizer.encode(line, add_special_tokens=False).ids]
        assert None not in found
        assert b"".join(form or b"" for form in found) == b" " + line.encode()


BERT = document(
    wordpiece("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"), "[PAD]", "[UNK]", "[CLS]", "[SEP]"
)


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (None, {"unk": 1, "sep": 3, "pad": 0, "cls": 2}),
        ({"tokenizer_class": "BertTokenizerFast"}, {"unk": 1, "sep": 3, "pad": 0, "cls": 2, "mask": 4}),
        ({"mask_token": {"content": "[MASK]"}, "pad_token": None}, {"unk": 1, "sep": 3, "cls": 2, "mask": 4}),
        ({"eos_token": "[SEP]", "bos_token": "none"}, {"eos": 3, "unk": 1, "sep": 3, "pad": 0, "cls": 2}),
    ],
)
def test_roles_by_settings(config: dict[str, Any] | None, found: dict[str, int]) -> None:
    assert token_roles(BERT, config) == found


def test_a_map_overrides_settings() -> None:
    assert token_roles(BERT, {"cls_token": "a"}, {"cls_token": "[CLS]"})["cls"] == 2
    assert (
        token_roles(BERT, {"cls_token": "a", "added_tokens_decoder": {}}, {"cls_token": "[CLS]"})["cls"] == 5
    )


def test_roles_that_the_document_gives() -> None:
    doc = document(
        unigram(("[HALT]", 0.0), ("[GO]", 0.0), ("a", -1.0), ("huh", -1.0), unk_id=3),
        post_processor=TEMPLATE,
        padding={"strategy": "BatchLongest", "pad_id": 2, "pad_token": "a"},
    )
    assert token_roles(doc) == {"unk": 3, "sep": 0, "pad": 2, "cls": 1}
    roberta = {"type": "RobertaProcessing", "sep": ["[HALT]", 0], "cls": ["[GO]", 1]}
    doc = document(unigram(("[HALT]", 0.0), ("[GO]", 0.0), unk_id=None), post_processor=roberta)
    assert token_roles(doc) == {"sep": 0, "cls": 1}


def test_a_role_that_is_no_token_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"cls_token of the tokenizer's settings is 7; it must be a token or null"
    ):
        token_roles(BERT, {"cls_token": 7})
