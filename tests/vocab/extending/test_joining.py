from __future__ import annotations

from polycompress.vocab.extending.joining import joined_pieces, marks, missing_symbols
from polycompress.vocab.extending.pieces import NewPiece
from tests.vocab.documents import bpe, document, wordpiece


def test_marks_of_each_type() -> None:
    assert marks(bpe(["a"], [])) == ("", "")
    assert marks(bpe(["a"], [], end_of_word_suffix="</w>")) == ("", "</w>")
    assert marks(wordpiece("a")) == ("##", "")


def test_bpe_goes_on_where_it_ended() -> None:
    doc = document(bpe(["a", "b", "c", "ab"], [("a", "b")], unk_token=None))
    found = joined_pieces(doc, {"abc": 5, "abcc": 2}, {"abc": [3, 2], "abcc": [3, 2, 2]}, most=9, least=1)
    assert found == [
        NewPiece(text="abc", merges=(("ab", "c"),)),
        NewPiece(text="abcc", merges=(("abc", "c"),)),
    ]


def test_what_is_a_token_already_is_not_made_anew_and_unknowns_join_nothing() -> None:
    doc = document(bpe(["a", "b", "ba", "<unk>"], [], unk_token="<unk>"))
    found = joined_pieces(doc, {"ba": 9, "axb": 9}, {"ba": [1, 0], "axb": [0, 3, 1]}, most=9, least=1)
    assert found == []


def test_wordpiece_parts_lose_their_mark() -> None:
    doc = document(wordpiece("[UNK]", "a", "##b", "##c"))
    found = joined_pieces(doc, {"abc": 3, "cbc": 2}, {"abc": [1, 2, 3], "cbc": [0]}, most=9, least=1)
    assert found == [NewPiece(text="ab"), NewPiece(text="abc")]


def test_letters_that_the_model_lacks() -> None:
    words = {"aña": 4, "a1": 1, "é": 1, "\t": 3}
    doc = document(wordpiece("[UNK]", "a", "##a"))
    assert [piece.text for piece in missing_symbols(doc, words, least=1)] == ["##ñ", "##1", "é"]
    assert [piece.text for piece in missing_symbols(doc, words, least=2)] == ["##ñ"]
    assert missing_symbols(document(bpe(["a"], [], byte_fallback=True)), words, least=1) == []
    byte_level = document(bpe(["a"], []), pre_tokenizer={"type": "ByteLevel"})
    assert missing_symbols(byte_level, words, least=1) == []
