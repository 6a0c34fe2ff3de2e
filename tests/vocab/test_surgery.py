"""Closing and cutting whole documents: added tokens, post-processors, padding, what is carried over."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.vocab.document import pieces, special_ids, validate_document
from polycompress.vocab.surgery import close_ids, closer, dump_document, trim_document
from tests.vocab.documents import bpe_documents, document, load, selections, unigram, wordpiece

ENTRIES = [("<s>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("<pad>", 0.0), ("▁", -2.0), ("a", -3.0), ("b", -4.0)]
ENTRIES += [("ab", -3.5), ("c", -5.0), ("bc", -5.5), ("<mask>", -1.0), ("z", -20.0)]
BERT = {"type": "BertProcessing", "sep": ["</s>", 1], "cls": ["<mask>", 10]}
ROBERTA = {"type": "RobertaProcessing", "sep": ["</s>", 1], "cls": ["<mask>", 10], "trim_offsets": True}
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<x>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "<two>", "type_id": 0}},
        {"Sequence": {"id": "B", "type_id": 1}},
    ],
    "special_tokens": {
        "<x>": {"id": "<x>", "ids": [12], "tokens": ["<x>"]},
        "<two>": {"id": "<two>", "ids": [1, 10], "tokens": ["</s>", "<mask>"]},
    },
}
SEQUENCE = {
    "type": "Sequence",
    "processors": [
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True},
        TEMPLATE,
    ],
}


def source(**fields: Any) -> dict[str, Any]:
    """A Unigram document with special tokens inside and two added tokens behind the vocabulary."""
    model = unigram(*ENTRIES, unk_id=2)
    return document(model, "<s>", "</s>", "<unk>", "<pad>", "<mask>", "<x>", "+hello", **fields)


def test_special_and_added_tokens_are_kept_by_name() -> None:
    doc = source()
    assert [name for name in pieces(doc)[10:]] == ["<mask>", "z", "<x>", "hello"]
    rules = special_ids(doc)
    assert rules == {
        **dict.fromkeys((0, 1, 2, 3, 10, 12), "special"),
        13: "added",
        4: "word boundary",
        11: "minimum score",
    }
    assert list(rules) == sorted(rules)


@pytest.mark.parametrize(
    "post", [None, BERT, ROBERTA, TEMPLATE, SEQUENCE], ids=["none", "bert", "roberta", "t", "seq"]
)
def test_special_tokens_and_templates_give_the_same_strings(post: dict[str, Any] | None) -> None:
    doc = source(post_processor=post)
    keep = close_ids(doc, np.array([5, 9]))
    assert keep.tolist() == [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13]
    trimmed = trim_document(doc, keep)
    validate_document(trimmed)
    old, new = load(doc), load(trimmed)
    assert [token["id"] for token in trimmed["added_tokens"]] == [0, 1, 2, 3, 7, 9, 10]
    for arguments in (("bca hello<mask>a",), ("a", "bc<x>"), ("",), ("<s>hello", "<unk>a")):
        assert new.encode(*arguments).tokens == old.encode(*arguments).tokens
        assert new.encode(*arguments).special_tokens_mask == old.encode(*arguments).special_tokens_mask
        assert new.encode(*arguments).type_ids == old.encode(*arguments).type_ids
        assert [keep[number] for number in new.encode(*arguments).ids] == old.encode(*arguments).ids


def test_padding_gets_the_new_id_and_settings_stay() -> None:
    truncation = {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    padding = {"strategy": {"Fixed": 5}, "direction": "Right", "pad_to_multiple_of": None}
    padding |= {"pad_id": 10, "pad_type_id": 0, "pad_token": "<mask>"}
    doc = source(truncation=truncation, padding=padding)
    trimmed = trim_document(doc, close_ids(doc, np.array([5])))
    assert trimmed["truncation"] == truncation
    assert trimmed["padding"] == {**padding, "pad_id": 6}
    assert type(load(trimmed)).from_str(dump_document(trimmed).decode()).encode("aaaaa").tokens == [
        "a",
        "a",
        "a",
        "<mask>",
        "<mask>",
    ]


def test_everything_else_is_carried_over_and_the_source_is_not_changed() -> None:
    # The Metaspace of old files has add_prefix_space and no prepend_scheme; fields we do not know stay as well.
    old_metaspace = {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}
    doc = source(
        pre_tokenizer=old_metaspace, decoder=old_metaspace, normalizer={"type": "NFKC"}, note={"by": [1]}
    )
    doc["model"]["unknown_field"] = 7
    before = copy.deepcopy(doc)
    trimmed = trim_document(doc, close_ids(doc, np.array([5])))
    assert doc == before
    for field in ("version", "pre_tokenizer", "decoder", "normalizer", "note", "truncation", "padding"):
        assert trimmed[field] == doc[field]
    assert list(trimmed) == list(doc)
    assert trimmed["model"]["unknown_field"] == 7
    del trimmed["note"]  # the library refuses what it does not know at the top
    assert load(trimmed).decode(load(trimmed).encode("a a").ids) == "a a"


def test_added_tokens_are_numbered_as_the_library_does() -> None:
    doc = source()
    for token, stated in zip(doc["added_tokens"][-2:], (900, 40), strict=True):
        token["id"] = stated
    library = load(doc)
    assert [library.token_to_id("<x>"), library.token_to_id("hello")] == [12, 13]
    assert pieces(doc)[12:] == ["<x>", "hello"]
    trimmed = trim_document(doc, close_ids(doc, np.array([], dtype=np.int64)))
    assert [load(trimmed).token_to_id(name) for name in ("<x>", "hello")] == [7, 8]


def test_gaps_between_ids_are_closed() -> None:
    doc = document({**wordpiece(), "vocab": {"[UNK]": 0, "a": 2, "b": 7}}, "b")
    assert pieces(doc) == ["[UNK]", None, "a", None, None, None, None, "b"]
    trimmed = trim_document(doc, close_ids(doc, np.array([2])))
    assert trimmed["model"]["vocab"] == {"[UNK]": 0, "a": 1, "b": 2}
    assert trimmed["added_tokens"][0]["id"] == 2


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ([0, 5, 4], "increasing ids"),
        ([0, 0], "increasing ids"),
        ([0, 99], "keep contains id 99, but ids run from 0 to 13"),
        ([-1, 0], "keep contains id -1, but ids run from 0 to 13"),
        (
            [5],
            r"keep is not closed: 9 ids that the others need are missing, the first is 0 \('<s>'\); call close_ids",
        ),
        ([[1, 2]], "one row of increasing ids"),
        ([0.5], "keep must be one row of whole numbers, not float64"),
    ],
)
def test_wrong_selections_are_refused(keep: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trim_document(source(), np.array(keep))


def test_ids_without_a_token_are_refused() -> None:
    doc = document({**wordpiece(), "vocab": {"[UNK]": 0, "a": 2}})
    with pytest.raises(ValueError, match="keep contains id 1, but no token has it"):
        close_ids(doc, np.array([0, 1]))


@given(doc=bpe_documents(), data=st.data())
def test_a_closer_gives_the_same_for_every_selection_as_close_ids(
    doc: dict[str, Any], data: st.DataObject
) -> None:
    close = closer(doc)
    for _ in range(3):
        chosen = np.array(data.draw(selections(doc)), dtype=np.int64)
        kept = close(chosen)
        assert kept.tolist() == close_ids(doc, chosen).tolist()
        assert close(kept).tolist() == kept.tolist()
