"""Pieces as plain text, and the pieces that are one character."""

from __future__ import annotations

from polycompress.vocab.alphabet import BYTE_PIECES, byte_symbols, symbol_bytes
from polycompress.vocab.surface import piece_text, single_character_pieces
from tests.vocab.documents import bpe, document, unigram, wordpiece

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def as_symbols(text: str) -> str:
    """A text as a byte-level vocabulary writes it."""
    return "".join(byte_symbols()[byte] for byte in text.encode())


def test_byte_symbols_are_a_bijection() -> None:
    symbols = byte_symbols()
    assert len(set(symbols)) == 256
    assert all(symbol_bytes(symbol) == bytes([byte]) for byte, symbol in enumerate(symbols))
    assert (symbols[0x20], symbols[0x0A], symbols[0xAD], symbols[0x7F]) == ("Ġ", "Ċ", "Ń", "ġ")
    assert symbol_bytes("a b") is None
    assert symbol_bytes("▁") is None


def test_unigram_pieces() -> None:
    entries = [
        ("<unk>", 0.0),
        ("▁", -1.0),
        ("▁a", -1.0),
        ("ب", -1.0),
        ("a▁", -1.0),
        ("▁ab", -2.0),
        ("<0x41>", -2.0),
    ]
    doc = document(unigram(*entries), "<unk>", "+!")
    assert piece_text(doc) == ["<unk>", " ", " a", "ب", "a ", " ab", "<0x41>", "!"]
    assert single_character_pieces(doc) == [(2, "a"), (3, "ب"), (4, "a")]


def test_byte_level_pieces() -> None:
    tokens = [as_symbols(text) for text in (" ", " é", "日", "日本", "a")] + [
        as_symbols("日")[:2],
        "<|end|>",
        "�",
    ]
    doc = document(bpe(tokens, []), "<|end|>", pre_tokenizer=BYTE_LEVEL)
    assert piece_text(doc) == [" ", " é", "日", "日本", "a", "�", "<|end|>", "�"]
    assert single_character_pieces(doc) == [(1, "é"), (2, "日"), (4, "a")]


def test_pieces_with_marks_of_their_place() -> None:
    doc = document(wordpiece("[UNK]", "a", "##a", "##ab", "▁"), "[UNK]")
    assert piece_text(doc) == ["[UNK]", "a", "a", "ab", "▁"]
    assert single_character_pieces(doc) == [(1, "a"), (2, "a"), (4, "▁")]
    clip = document(bpe(["a", "a</w>", "ab</w>"], [], end_of_word_suffix="</w>"), pre_tokenizer=BYTE_LEVEL)
    assert piece_text(clip) == ["a", "a", "ab"]
    assert single_character_pieces(clip) == [(0, "a"), (1, "a")]


def test_gaps_and_byte_fallback_pieces() -> None:
    model = bpe([], [], byte_fallback=True)
    doc = document({**model, "vocab": {"a": 0, BYTE_PIECES[65]: 2}})
    assert piece_text(doc) == ["a", None, "<0x41>"]
    assert single_character_pieces(doc) == [(0, "a")]
