from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from polycompress.pipelines.trim import trim
from polycompress.ui.pieces import MAX_CHARACTERS, Piece, cut, cut_otherwise, words
from tests.tiny_models import TEXTS, make_tiny


def piece(start: int, end: int, *, unknown: bool = False, special: bool = False) -> Piece:
    return Piece(7, "x", "x", start, end, special, unknown, False)


@pytest.fixture(scope="module", params=["xlm-roberta", "bert", "roberta", "llama"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("model")
    head = "base" if request.param != "llama" else "clm"
    make_tiny(request.param, head, path, vocab_size=400)
    return Tokenizer.from_file(str(path / "tokenizer.json"))


def test_pieces_say_where_they_stand(tokenizer: Tokenizer) -> None:
    for text in TEXTS:
        pieces = cut(tokenizer, text)
        assert [each.id for each in pieces] == tokenizer.encode(text).ids
        own = [each for each in pieces if not each.is_special]
        assert all(each.text == text[each.start : each.end] for each in own)
        assert all(each.shown for each in pieces)
        assert own[0].begins
        covered = {place for each in own for place in range(each.start, each.end)}
        assert {at for at, letter in enumerate(text) if not letter.isspace()} <= covered


@given(text=st.text(max_size=40))
def test_a_tokenizer_agrees_with_itself(tokenizer: Tokenizer, text: str) -> None:
    pieces = cut(tokenizer, text)
    assert cut_otherwise(text, pieces, pieces) == frozenset()


def test_texts_are_cut_short(tokenizer: Tokenizer) -> None:
    pieces = cut(tokenizer, "a " * MAX_CHARACTERS)
    assert max(each.end for each in pieces) <= MAX_CHARACTERS


def test_padding_and_truncation_make_no_difference(tokenizer: Tokenizer) -> None:
    before = cut(tokenizer, TEXTS[0])
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=64)
    assert cut(tokenizer, TEXTS[0]) == before


def test_words_that_are_cut_elsewhere_are_found() -> None:
    text = "one two three"
    assert words(text) == ((0, 3), (4, 7), (8, 13))
    one = [piece(0, 3), piece(3, 7), piece(7, 13), piece(0, 0, special=True)]
    other = [piece(0, 1), piece(1, 3), piece(4, 7), piece(8, 13, unknown=True)]
    assert cut_otherwise(text, one, other) == {(0, 3), (8, 13)}
    assert cut_otherwise(text, one, []) == {(0, 3), (4, 7), (8, 13)}


def test_a_piece_over_two_words_counts_in_both() -> None:
    assert cut_otherwise("ab cd", [piece(0, 5)], [piece(0, 2), piece(2, 4), piece(4, 5)]) == {(3, 5)}


def test_special_pieces_show_their_token() -> None:
    assert Piece(0, "<s>", "", 0, 0, True, False, False).shown == "<s>"
    assert Piece(9, "<0xE2>", "€", 0, 1, False, False, True).shown == "<0xE2>"
    assert Piece(9, "\u2581the", " the", 3, 7, False, False, True).shown == "the"
    assert Piece(9, "\u2581", " ", 3, 4, False, False, False).shown == "\u2581"


def test_what_is_unknown_is_told_apart(tmp_path: Path) -> None:
    make_tiny("xlm-roberta", "base", tmp_path, vocab_size=350)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    pieces = cut(tokenizer, "der \U0001f600 Hund")
    (unknown,) = [each for each in pieces if each.is_unknown]
    assert (unknown.token, unknown.text, unknown.shown) == ("<unk>", "\U0001f600", "\U0001f600")
    known = [replace(each, is_unknown=False) for each in pieces]
    assert cut_otherwise("der \U0001f600 Hund", pieces, known) == {(4, 5)}


def test_trimming_marks_only_what_was_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYCOMPRESS_CACHE", str(tmp_path / "cache"))
    make_tiny("xlm-roberta", "base", tmp_path / "model", vocab_size=350)
    corpus = tmp_path / "de.txt"
    corpus.write_text("\n".join(TEXTS[:2] * 20), encoding="utf-8")
    trim(
        tmp_path / "model",
        langs="de",
        out=tmp_path / "small",
        corpus=[f"de={corpus}"],
        min_count=1,
        frequencies=False,
    )
    whole, small = (
        Tokenizer.from_file(str(tmp_path / name / "tokenizer.json")) for name in ("model", "small")
    )
    german, russian = TEXTS[0], TEXTS[8]
    assert cut_otherwise(german, cut(whole, german), cut(small, german)) == frozenset()
    lost = cut_otherwise(russian, cut(whole, russian), cut(small, russian))
    unknown = {
        word
        for word in words(russian)
        for each in cut(small, russian)
        if each.is_unknown and each.end in range(word[0] + 1, word[1] + 1)
    }
    assert unknown
    assert unknown <= lost
