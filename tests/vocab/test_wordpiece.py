"""WordPiece models: longest match, unreadable words, single characters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.vocab.document import special_ids, validate_document
from polycompress.vocab.surgery import close_ids, trim_document
from tests.vocab.documents import (
    Document,
    all_words,
    check_trim,
    document,
    encode,
    load,
    selections,
    wordpiece,
    wordpiece_documents,
)


def test_ids_are_compact_and_the_unknown_token_stays() -> None:
    doc = document(wordpiece("a", "[UNK]", "##b", "ab", "c"))
    assert special_ids(doc) == {1: "unknown"}
    trimmed = trim_document(doc, close_ids(doc, np.array([4])))
    assert trimmed["model"]["vocab"] == {"[UNK]": 0, "c": 1}
    assert encode(load(trimmed), "ab") == [0]


def test_the_characters_of_a_kept_piece_stay_in_the_forms_that_spell_it() -> None:
    doc = document(wordpiece("[UNK]", "a", "b", "##a", "##b", "ab", "##ba"))
    assert close_ids(doc, np.array([5])).tolist() == [0, 1, 4, 5]
    assert close_ids(doc, np.array([6])).tolist() == [0, 3, 4, 6]


def test_a_word_that_was_unknown_does_not_become_readable() -> None:
    # "abcd" is tried as ab ##c and fails at d; without ab it would be read as a ##bcd.
    vocab = ["[UNK]", "a", "ab", "##c", "##bcd", "##b"]
    doc = document(wordpiece(*vocab))
    assert load(doc).encode("abcd").tokens == ["[UNK]"]
    careless = document(wordpiece(*(piece for piece in vocab if piece != "ab")))
    assert load(careless).encode("abcd").tokens == ["a", "##bcd"]
    assert 2 in close_ids(doc, np.array([1, 4]))
    assert check_trim(doc, [1, 4], ["abcd", "abc", "a"]).kept_only >= 2


def test_readings_that_stay_out_of_step_are_followed_to_the_left() -> None:
    # pq ##rse fails at z. Without pq: p ##qrs ##ez, in which no boundary is one of the old reading's.
    vocab = ["[UNK]", "p", "pq", "##qrs", "##rse", "##ez"]
    doc = document(wordpiece(*vocab))
    assert load(doc).encode("pqrsez").tokens == ["[UNK]"]
    careless = document(wordpiece(*(piece for piece in vocab if piece != "pq")))
    assert load(careless).encode("pqrsez").tokens == ["p", "##qrs", "##ez"]
    assert check_trim(doc, [1, 3, 5], ["pqrsez"]).kept_only == 1


def test_nothing_is_added_for_unknown_words_where_all_characters_have_pieces() -> None:
    doc = document(wordpiece("[UNK]", "a", "ab", "##b", "##c", "##d", "##bcd"))
    assert 2 not in close_ids(doc, np.array([1, 6]))


@settings(max_examples=settings().max_examples * 4)
@given(doc=wordpiece_documents(complete=False), data=st.data())
def test_unknown_words_stay_unknown_in_incomplete_vocabularies(doc: Document, data: st.DataObject) -> None:
    check_trim(doc, data.draw(selections(doc)), all_words("abc", 5))


def test_without_an_unknown_token_whatever_was_readable_stays_readable() -> None:
    complete = document(wordpiece("a", "b", "##a", "##b", "ab", "##ab"))
    assert special_ids(complete) == dict.fromkeys(range(4), "alphabet")
    check_trim(complete, [], ["abab", "ba", "c"])
    incomplete = document(wordpiece("a", "ab", "##ab"))
    assert special_ids(incomplete) == dict.fromkeys(range(3), "no unknown token")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("vocab", [["a", 0]], r"model\.vocab is \[\['a', 0\]\]; it must be an object"),
        ("vocab", {"a": 1, "b": 1}, r"model\.vocab gives id 1 to both 'a' and 'b'"),
        ("unk_token", None, r"model\.unk_token is None; it must be a string"),
        ("continuing_subword_prefix", 2, r"model\.continuing_subword_prefix is 2; it must be a string"),
        ("max_input_chars_per_word", -1, r"model\.max_input_chars_per_word is -1; it must be a whole number"),
    ],
)
def test_broken_models_are_refused(field: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        validate_document({"model": {**wordpiece("a", "b"), field: value}})
