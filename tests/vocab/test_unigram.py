"""Unigram models: the minimum score, unknown pieces, byte fallback, pieces listed twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.vocab.alphabet import BYTE_PIECES
from polycompress.vocab.document import special_ids, validate_document
from polycompress.vocab.surgery import close_ids, trim_document
from tests.vocab.documents import check_trim, document, load, unigram

# The example of the method note: without its rarest piece, "zz", the price of an unknown character changes and with
# it the best path of "Xbcd", although all pieces of the old path are kept.
PENALTY = [("<unk>", 0.0), ("Xb", -15.0), ("c", -15.0), ("d", -15.0), ("bcd", -8.0), ("zz", -28.0)]


def test_the_piece_with_the_minimum_score_stays_and_with_it_the_segmentation() -> None:
    doc = document(unigram(*PENALTY))
    assert load(doc).encode("Xbcd").tokens == ["Xb", "c", "d"]
    assert special_ids(doc) == {0: "unknown", 5: "minimum score"}
    assert check_trim(doc, [1, 2, 3, 4], ["Xbcd"]).kept_only == 1


def test_without_the_minimum_score_the_segmentation_would_change() -> None:
    careless = document(unigram(*PENALTY[:-1]))
    assert load(careless).encode("Xbcd").tokens == ["X", "bcd"]


def test_unk_id_is_recomputed() -> None:
    doc = document(unigram(("a", -1.0), ("b", -2.0), ("<unk>", 0.0), ("c", -3.0), unk_id=2))
    trimmed = trim_document(doc, close_ids(doc, np.array([1])))
    assert trimmed["model"]["vocab"] == [["b", -2.0], ["<unk>", 0.0], ["c", -3.0]]
    assert trimmed["model"]["unk_id"] == 1
    assert load(trimmed).encode("b?").ids == [0, 1]


def test_without_unknown_piece_all_single_characters_stay() -> None:
    doc = document(unigram(("a", -1.0), ("b", -2.0), ("ab", -3.0), ("ba", -4.0), unk_id=None))
    assert special_ids(doc) == {0: "alphabet", 1: "alphabet", 3: "minimum score"}
    check_trim(doc, [], ["ab", "ba", "abab", "x"])


def test_without_unknown_piece_an_incomplete_alphabet_keeps_everything() -> None:
    doc = document(unigram(("a", -1.0), ("ab", -3.0), ("abab", -4.0), unk_id=None))
    assert set(special_ids(doc).values()) == {"no unknown token"}
    check_trim(doc, [], ["ab", "abab", "aab"])


def test_pieces_listed_twice_count_with_their_last_entry() -> None:
    # "a" costs 7, so "ab" is one piece; with only the first entry of "a" kept it would be two.
    entries = [("<unk>", 0.0), ("a", -3.0), ("b", -1.0), ("ab", -5.0), ("a", -7.0), ("z", -30.0)]
    doc = document(unigram(*entries))
    assert close_ids(doc, np.array([1, 2, 3])).tolist() == [0, 1, 2, 3, 4, 5]
    assert check_trim(doc, [1, 2, 3], ["ab"]).kept_only == 1


def test_byte_pieces_sentinels_control_pieces_and_the_boundary_stay() -> None:
    entries = [
        ("<pad>", 0.0),
        ("<unk>", 0.0),
        ("▁", -2.0),
        ("a", -3.0),
        ("b", -4.0),
        ("c", -5.0),
        ("d", -6.0),
    ]
    entries += [("▁<extra_id_0>", -1.0), ("<extra_id_1>", -1.0), ("<s>x>", -1.0)]
    entries += [(piece, -9.0) for piece in BYTE_PIECES]
    rules = special_ids(document(unigram(*entries, unk_id=1, byte_fallback=True)))
    assert rules[0] == "control"
    assert rules[1] == "unknown"
    assert rules[2] == "word boundary"
    assert [rules[number] for number in (7, 8)] == ["sentinel", "sentinel"]
    assert all(rules[number] == "byte" for number in range(10, 266))
    assert rules.keys() & {3, 4, 5, 6, 9} == set()


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_byte_fallback_brings_every_text_back(text: str) -> None:
    entries = [
        ("<unk>", 0.0),
        ("a", -1.0),
        ("é", -2.0),
        ("aé", -2.5),
        *((piece, -9.0) for piece in BYTE_PIECES),
    ]
    doc = document(unigram(*entries, byte_fallback=True), decoder=BYTE_DECODER)
    trimmed = load(trim_document(doc, close_ids(doc, np.array([], dtype=np.int64))))
    assert trimmed.decode(trimmed.encode(text).ids) == text


BYTE_DECODER = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("vocab", {"a": 0}, r"model\.vocab is \{'a': 0\}; it must be an array"),
        ("vocab", [["a", -1.0], ["b"]], r"model\.vocab\[1\] is \['b'\]; it must be a pair \[piece, score\]"),
        ("vocab", [["a", -1.0], "b"], r"model\.vocab\[1\] is 'b'; it must be a pair"),
        ("vocab", [["a", -1.0], [7, -1.0]], r"model\.vocab\[1\]\[0\] is 7; it must be a piece"),
        ("vocab", [["a", "x"]], r"model\.vocab\[0\]\[1\] is 'x'; it must be a score"),
        ("vocab", [["a", True]], r"model\.vocab\[0\]\[1\] is True; it must be a score"),
        ("vocab", [["a", float("inf")]], r"model\.vocab\[0\]\[1\] is inf; it must be a finite score"),
        ("vocab", [["a", -(10**400)]], r"a score too large for a float"),
        ("unk_id", 9, r"model\.unk_id is 9; it must be null or a position in model\.vocab, 0 to 5"),
        ("unk_id", -1, r"model\.unk_id is -1"),
        ("unk_id", True, r"model\.unk_id is True"),
        ("byte_fallback", "yes", r"model\.byte_fallback is 'yes'; it must be true or false"),
    ],
)
def test_broken_models_are_refused(field: str, value: Any, message: str) -> None:
    doc = document({**unigram(*PENALTY), field: value})
    with pytest.raises(InputError, match=message):
        validate_document(doc)
