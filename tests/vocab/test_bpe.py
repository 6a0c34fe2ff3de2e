"""BPE models: derivations, merge closure, alphabets, both ways of writing merges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.vocab.alphabet import BYTE_PIECES, byte_symbols
from polycompress.vocab.derivation import Deriver, merge_table, readings
from polycompress.vocab.document import special_ids, validate_document
from polycompress.vocab.surgery import close_ids, trim_document
from tests.vocab.documents import bpe, bpe_documents, check_trim, document, encode, load

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def closed(doc: dict[str, Any], *tokens: str) -> set[str]:
    """The strings of the closure of some tokens."""
    vocab = doc["model"]["vocab"]
    names = {number: token for token, number in vocab.items()}
    return {names[number] for number in close_ids(doc, np.array([vocab[token] for token in tokens])).tolist()}


# "abc" can be made in two ways; from "a" "b" "c" the library makes "bc" first.
TWO_WAYS = bpe(["<unk>", "a", "b", "c", "ab", "bc", "abc"], ["b c", "a bc", "a b", "ab c"], unk_token="<unk>")


def test_only_the_parts_of_a_tokens_own_derivation_are_added() -> None:
    doc = document(TWO_WAYS)
    assert load(doc).encode("abc").tokens == ["abc"]
    assert closed(doc, "abc") == {"<unk>", "a", "b", "c", "bc", "abc"}
    assert check_trim(doc, [6], ["abc", "abcabc", "ab"]).kept_only == 2


def test_a_merge_stays_if_both_parts_and_its_result_do_and_the_order_is_the_old_one() -> None:
    doc = document(TWO_WAYS)
    keep = close_ids(doc, np.array([5, 6]))
    assert trim_document(doc, keep)["model"]["merges"] == ["b c", "a bc"]
    assert trim_document(doc, close_ids(doc, np.array([4, 6])))["model"]["merges"] == [
        "b c",
        "a bc",
        "a b",
        "ab c",
    ]


def test_ids_are_compact_and_in_the_old_order_and_pairs_stay_pairs() -> None:
    merges = [["b", "c"], ["a", "bc"]]
    doc = document(bpe(["c", "b", "a", "bc", "q", "abc"], merges, unk_token="q"))
    trimmed = trim_document(doc, close_ids(doc, np.array([3])))
    assert trimmed["model"]["vocab"] == {"c": 0, "b": 1, "bc": 2, "q": 3}
    assert trimmed["model"]["merges"] == [["b", "c"]]


def test_version_lines_of_old_files_are_carried_along() -> None:
    doc = document(bpe(["a", "b", "ab"], ["#version: 0.2", "a b"]))
    assert trim_document(doc, np.array([0, 1, 2])) == doc
    assert load(doc).encode("ab").ids == [2]


def test_a_pair_listed_twice_counts_with_its_last_rank() -> None:
    # The second "a b" comes after "b c", so "abc" ends as "a" "bc".
    doc = document(bpe(["a", "b", "c", "ab", "bc"], ["a b", "b c", "a b"]))
    assert load(doc).encode("abc").tokens == ["a", "bc"]
    assert check_trim(doc, [4], ["abc", "ab"]).kept_only >= 1


def test_tokens_that_merges_never_make_need_nothing() -> None:
    # "bc" is made before "ab", so "abc" never comes about.
    model = bpe(["?", "a", "b", "c", "ab", "bc", "abc"], ["b c", "a b", "ab c", "ab c"], unk_token="?")
    doc = document(model)
    assert load(doc).encode("abc").tokens == ["a", "bc"]
    assert closed(doc, "abc") == {"?", "abc"}


def test_byte_level_models_keep_the_256_symbols() -> None:
    symbols = byte_symbols()
    doc = document(bpe([*symbols, "Ġa", "ab"], ["Ġ a", "a b"]), pre_tokenizer=BYTE_LEVEL)
    rules = special_ids(doc)
    assert len(rules) == 256
    assert set(rules.values()) == {"alphabet"}


def test_end_of_word_symbols_are_part_of_the_alphabet() -> None:
    symbols = byte_symbols()
    vocab = [*symbols, *(symbol + "</w>" for symbol in symbols), "ab</w>", "<|end|>"]
    model = bpe(vocab, ["a b</w>"], end_of_word_suffix="</w>", unk_token="<|end|>")
    doc = document(model, "<|end|>", pre_tokenizer=BYTE_LEVEL)
    assert len(special_ids(doc)) == 513
    assert closed(doc, "ab</w>") == set(vocab)
    assert check_trim(doc, [], ["ab", "ba", "b", "é"]).kept_only == 3


def test_with_byte_fallback_characters_may_go_and_bytes_stay() -> None:
    vocab = ["<unk>", *BYTE_PIECES, "▁", "é", "a", "▁a"]
    doc = document(bpe(vocab, ["▁ a"], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    rules = special_ids(doc)
    assert [rules.get(number) for number in (0, 1, 256, 257, 258, 259)] == [
        "unknown",
        "byte",
        "byte",
        "word boundary",
        None,
        None,
    ]
    trimmed = load(trim_document(doc, close_ids(doc, np.array([260]))))
    assert trimmed.encode("▁aé").tokens == ["▁a", "<0xC3>", "<0xA9>"]


def test_where_nothing_catches_a_character_all_characters_stay() -> None:
    doc = document(bpe(["a", "b", "ab", "abab"], ["a b", "ab ab"]))
    assert special_ids(doc) == {0: "alphabet", 1: "alphabet"}
    missing = document(bpe(["a", "b", "ab"], ["a b"], unk_token="<unk>"))
    assert special_ids(missing) == {0: "alphabet", 1: "alphabet"}


def test_whole_words_that_only_ignore_merges_can_give_stay_where_nothing_catches_them() -> None:
    doc = document(bpe(["b", "aa"], [], ignore_merges=True, unk_token="<unk>"))
    assert special_ids(doc)[1] == "no unknown token"
    assert encode(load(trim_document(doc, close_ids(doc, np.array([0])))), "aa") == [1]


def test_ignore_merges_is_copied_and_whole_words_stay_whole() -> None:
    doc = document(bpe(["?", "a", "b", "ab", "abb"], ["a b"], ignore_merges=True, unk_token="?"))
    trimmed = trim_document(doc, close_ids(doc, np.array([4])))
    assert trimmed["model"]["ignore_merges"] is True
    assert load(trimmed).encode("abb").tokens == ["abb"]


def test_where_the_unknown_token_takes_part_in_merges_all_parents_stay() -> None:
    # In "xb" the unknown token stands for x and merges with "b"; spelt out, "<unk>b" is never made.
    model = bpe(
        ["<unk>", "a", "b", "c", "<unk>b", "bc", "<unk>bc"], ["b c", "<unk> bc", "<unk> b"], unk_token="<unk>"
    )
    doc = document(model)
    assert load(doc).encode("xb").tokens == ["<unk>b"]
    assert closed(doc, "<unk>bc") == {"<unk>", "b", "c", "bc", "<unk>bc"}
    assert check_trim(doc, [6], ["xbc", "xb", "xxbc"]).kept_only == 2


def test_readings_of_a_token_depend_on_its_place() -> None:
    assert list(readings("##ab$", "##", "$")) == [
        ["#", "###", "##a", "##b", "##$"],
        ["#", "###", "##a", "##b$"],
        ["##a", "##b", "##$"],
        ["##a", "##b$"],
    ]


@given(doc=bpe_documents(), data=st.data())
def test_derivations_agree_with_the_library(doc: dict[str, Any], data: st.DataObject) -> None:
    """For plain models, a token comes out of its own string if and only if it has a derivation."""
    model = {**doc["model"], "ignore_merges": False, "end_of_word_suffix": None, "byte_fallback": False}
    if model["continuing_subword_prefix"]:
        return
    deriver, library = Deriver(merge_table(model), model), load(document(model))
    token = data.draw(st.sampled_from(sorted(model["vocab"])))
    if token and all(character in model["vocab"] for character in token):
        whole = library.encode(token).ids == [model["vocab"][token]]
        assert bool(deriver.intermediates(token, model["vocab"][token])) == whole


BROKEN = {"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocab": ["a"]}, r"model\.vocab is \['a'\]; it must be an object"),
        ({"vocab": {"a": 0, "b": "1"}}, r"model\.vocab\['b'\] is '1'; it must be a token id"),
        ({"vocab": {"a": 0, "b": 1.0}}, r"model\.vocab\['b'\] is 1\.0; it must be a token id"),
        ({"vocab": {"a": 0, "b": -1}}, r"model\.vocab\['b'\] is -1; it must be a token id from 0 to"),
        (
            {"vocab": {"a": 0, "b": 1 << 40}},
            r"model\.vocab\['b'\] is 1099511627776; it must be a token id from 0",
        ),
        ({"vocab": {"a": 0, "b": 0}}, r"model\.vocab gives id 0 to both 'a' and 'b'"),
        ({"merges": None}, r"model\.merges is None; it must be an array"),
        (
            {"merges": ["a b", ["a", "b"]]},
            r"model\.merges\[1\] is \['a', 'b'\]; it must be written like the others",
        ),
        ({"merges": [{"a": "b"}]}, r"model\.merges\[0\] is \{'a': 'b'\}; it must be written"),
        ({"merges": ["a b c"]}, r"model\.merges\[0\] is 'a b c'; it must be two tokens with a space between"),
        ({"merges": [["a"]]}, r"model\.merges\[0\] is \['a'\]; it must be two tokens, \['a', 'b'\]"),
        ({"merges": [["a", 1]]}, r"model\.merges\[0\] is \['a', 1\]; it must be two tokens, both strings"),
        ({"merges": ["a x"]}, r"model\.merges\[0\] is 'a x', but 'x' is not in model\.vocab"),
        ({"merges": ["a b", "b a"]}, r"model\.merges\[1\] is 'b a', but 'ba' is not in model\.vocab"),
        (
            {"continuing_subword_prefix": "##"},
            r"right part of model\.merges\[0\] is 'b'; it must be a token that begins",
        ),
        ({"dropout": 0.1}, r"model\.dropout is 0\.1.*set it to null"),
        ({"unk_token": 3}, r"model\.unk_token is 3; it must be a string or null"),
        ({"fuse_unk": "no"}, r"model\.fuse_unk is 'no'; it must be true or false"),
    ],
)
def test_broken_models_are_refused(change: dict[str, Any], message: str) -> None:
    doc = (
        document({**bpe([], []), **BROKEN, **change})
        if isinstance(change.get("vocab", {}), dict)
        else {"model": {"type": "BPE", **BROKEN, **change}}
    )
    with pytest.raises(InputError, match=message):
        validate_document(doc)
