"""Fertility, pieces of characters, letters and overlap, by hand and as invariants."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polycompress.vocab.document import pieces
from polycompress.vocab.profile import (
    Overlap,
    blank_pieces,
    letter_coverage,
    lettered_pieces,
    mass_used_also,
    partial_pieces,
    weighted_jaccard,
    word_figures,
)
from polycompress.vocab.surface import piece_text
from tests.tiny_models import train_tokenizer

TEXTS = ["<unk>", " ", " Haus", "boot", ",", " (", "<0xE2>", "7", "\ufffd", None]
LETTERED = lettered_pieces(TEXTS, range(len(TEXTS)))


def test_pieces_are_told_apart() -> None:
    assert LETTERED.tolist() == [True, False, True, True, False, False, True, True, True, True]
    assert blank_pieces(TEXTS, range(len(TEXTS))).nonzero()[0].tolist() == [1]
    assert not lettered_pieces(TEXTS, [4]).any()


def test_words_by_hand() -> None:
    # "Haus" | "Hausboot," of three tokens, the comma no part of its letters | "(" + "7" + "7"
    figures = word_figures(
        ["Haus Hausboot,  (77 "], [[2, 2, 3, 4, 1, 5, 7, 7, 1]], [[0, 4, 9, 13, 14, 15, 17, 18, 19]], LETTERED
    )
    assert figures is not None
    assert figures.words == 3
    assert figures.tokens_per_word == pytest.approx(9 / 3)
    assert figures.continued == pytest.approx(2 / 3)


def test_a_lone_space_piece_does_not_continue_a_word() -> None:
    figures = word_figures(["Haus"], [[1, 2]], [[0, 0]], LETTERED)
    assert figures is not None
    assert (figures.tokens_per_word, figures.continued) == (2.0, 0.0)


def test_bytes_and_unknown_tokens_continue_a_word() -> None:
    figures = word_figures(["✗", "✗"], [[6, 6, 6], [0]], [[0, 0, 0], [0]], LETTERED)
    assert figures is not None
    assert (figures.tokens_per_word, figures.continued) == (2.0, 0.5)


def test_tokens_behind_the_last_word_stay_out_of_the_next_text() -> None:
    figures = word_figures(["Haus ", "boot"], [[2, 3], [3]], [[0, 4], [0]], LETTERED)
    assert figures is not None
    assert (figures.words, figures.continued) == (2, 0.0)


def test_no_words_give_no_figures() -> None:
    assert word_figures([" ", ""], [[1], []], [[0], []], LETTERED) is None
    assert word_figures([], [], [], LETTERED) is None


def test_weights_count_as_copies() -> None:
    texts, tokens, starts = ["Haus", "Hausboot Haus"], [[2], [2, 3, 2]], [[0], [0, 4, 8]]
    weighted = word_figures(texts, tokens, starts, LETTERED, [3, 1])
    copied = word_figures(
        [texts[0]] * 3 + texts[1:], [tokens[0]] * 3 + tokens[1:], [starts[0]] * 3 + starts[1:], LETTERED
    )
    assert weighted == copied
    assert weighted is not None
    assert weighted.continued == pytest.approx(1 / 5)


@given(st.lists(st.text(alphabet="ab ,", max_size=12), min_size=1, max_size=6))
def test_one_token_a_character_gives_every_word_its_length(lines: list[str]) -> None:
    ids = {" ": 1, ",": 4, "a": 3, "b": 3}
    figures = word_figures(
        lines,
        [[ids[c] for c in line] for line in lines],
        [list(range(len(line))) for line in lines],
        LETTERED,
    )
    words = [word for line in lines for word in line.split()]
    if not words:
        assert figures is None
        return
    assert figures is not None
    assert figures.words == len(words)
    assert figures.tokens_per_word == pytest.approx(sum(map(len, lines)) / len(words))
    long = sum(len(re.sub(",", "", word)) > 1 for word in words)
    assert figures.continued == pytest.approx(long / len(words))


def test_byte_level_pieces_that_cut_a_character() -> None:
    document = train_tokenizer("bytebpe", "gpt2")
    texts, names = piece_text(document), pieces(document)
    partial = partial_pieces(document, texts)
    assert partial[names.index("Ã")]  # the first byte of many letters
    whole = names.index("Ã¼")
    assert texts[whole] == "ü"
    assert not partial[whole]
    assert not partial[names.index("a")]
    # every byte symbol above 127 is a piece of a character
    assert partial.sum() >= 128


def test_the_replacement_character_itself_is_whole() -> None:
    document = {
        "model": {"type": "BPE", "vocab": {"ï¿½": 0, "ï¿": 1}, "merges": []},
        "pre_tokenizer": {"type": "ByteLevel"},
    }
    assert partial_pieces(document, piece_text(document)).tolist() == [False, True]


def test_byte_fallback_pieces() -> None:
    document = train_tokenizer("bpe", "llama")
    partial = partial_pieces(document, piece_text(document))
    names = pieces(document)
    assert partial.sum() == 256
    assert all(partial[names.index(f"<0x{byte:02X}>")] for byte in (0, 65, 255))


def test_without_byte_fallback_nothing_is_partial() -> None:
    document = train_tokenizer("unigram", "fairseq")
    assert not partial_pieces(document, piece_text(document)).any()


def test_letters_by_hand() -> None:
    #        unknown, space, ä, "a", a byte
    unreadable = np.array([True, False, False, False, True])
    blank = np.array([False, True, False, False, False])
    found = letter_coverage("äåőű¨", [[1, 2], [3], [0], [4, 4], [1]], {"ä", "ő"}, unreadable, blank)
    assert found.missing == ("ő", "ű", "¨")
    assert (found.letters, found.single) == (5, 1)
    assert found.share == pytest.approx(2 / 5)


def test_letters_that_vanish_are_missing_and_no_letters_are_covered() -> None:
    none = np.zeros(1, dtype=np.bool_)
    assert letter_coverage("x", [[]], set(), none, none).missing == ("x",)
    assert letter_coverage("", [], set(), none, none).share == 1.0


def test_overlap_by_hand() -> None:
    shares = np.array([[0.5, 0.5, 0.0], [0.25, 0.0, 0.75], [0.0, 0.0, 0.0]])
    jaccard = weighted_jaccard(shares)
    assert jaccard[0, 1] == pytest.approx(0.25 / 1.75)
    assert jaccard[0, 2] == 0
    assert np.diag(jaccard).tolist() == [1, 1, 1]
    used = mass_used_also(shares, 0.3)
    np.testing.assert_allclose(used, [[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0, 0, 0]])
    plain = Overlap(codes=("a", "b", "c"), jaccard=jaccard, used_also=used).as_dict()
    assert plain["languages"] == ["a", "b", "c"]
    assert "weighted Jaccard" in plain["definitions"]["jaccard"]


@given(arrays(np.float64, (4, 7), elements=st.floats(0, 1)))
def test_overlap_is_symmetric_and_bounded(counts: np.ndarray) -> None:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-300)
    jaccard = weighted_jaccard(shares)
    np.testing.assert_array_equal(jaccard, jaccard.T)
    assert ((jaccard >= 0) & (jaccard <= 1 + 1e-12)).all()
    used = mass_used_also(shares)
    assert ((used >= 0) & (used <= 1 + 1e-9)).all()
    # A language shares no less with another where less is asked of that other.
    assert (mass_used_also(shares, 1e-9) >= mass_used_also(shares, 0.1) - 1e-12).all()


def test_equal_languages_share_everything() -> None:
    shares = np.array([[0.2, 0.8], [0.2, 0.8]])
    np.testing.assert_allclose(weighted_jaccard(shares), 1.0)
