"""Reading tokenizer.json files that nobody has looked at yet."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from polycompress.errors import InputError
from polycompress.vocab import document as module
from polycompress.vocab.document import (
    boundary_mark,
    document_hash,
    dump_document,
    is_byte_level,
    load_document,
    model_size,
    model_type,
    parse_document,
    pieces,
    validate_document,
)
from tests.vocab.documents import bpe, document, load, unigram, wordpiece

PLAIN = [("<unk>", 0.0), ("a", -1.0)]


def test_a_file_is_read_and_written_back_byte_for_byte(tmp_path: Path) -> None:
    written = load(document(unigram(*PLAIN, ("é▁😀", -2.25)), "<unk>")).to_str().encode()
    path = tmp_path / "tokenizer.json"
    path.write_bytes(written)
    assert dump_document(load_document(path)) == written
    assert document_hash(written) == hashlib.sha256(written).hexdigest()


def test_missing_and_oversized_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"cannot read .*tokenizer\.json: No such file.*give a directory"):
        load_document(tmp_path / "tokenizer.json")
    (tmp_path / "big.json").write_bytes(b" " * 100)
    monkeypatch.setattr(module, "MAX_DOCUMENT_BYTES", 99)
    with pytest.raises(
        InputError, match=r"big\.json has 100 bytes; a tokenizer\.json of more than 99 is refused"
    ):
        load_document(tmp_path / "big.json")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{", r"t\.json is not valid JSON: unexpected end of data: line 1 column 2"),
        (b'{"a": "\xff"}', r"t\.json is not UTF-8 at byte 7"),
        (b'{"model": NaN}', r"not valid JSON: unexpected character, expected a JSON value: line 1 column 11"),
        (b'{"model": "\\ud800"}', r"not valid JSON: no low surrogate"),
        (b"[" * 100_000, r"not valid JSON: depth limit"),
        (b'{"model": ' + b"9" * 10_000 + b"}", r"not valid JSON: number is infinity"),
        (b"[]", r"t\.json: the document is \[\]; it must be an object"),
        (b"{}", r"t\.json: model is None; it must be an object"),
        (
            b'{"model": {"type": "WordLevel", "vocab": {}}}',
            r"model\.type is 'WordLevel', which cannot be trimmed; supported types: Unigram, BPE, WordPiece",
        ),
        (b'{"model": {"type": ["BPE"], "vocab": {}}}', r"model\.type is \['BPE'\], which cannot be trimmed"),
        (b'{"model": {"vocab": {}}}', r"model\.type is None, which cannot be trimmed"),
    ],
)
def test_what_is_no_tokenizer_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_document(raw, "t.json")


def test_escaped_pairs_are_characters() -> None:
    raw = json.dumps(document(unigram(*PLAIN, ("😀", -2.0)))).encode()
    assert b"\\ud83d" in raw
    assert pieces(parse_document(raw))[2] == "😀"


def test_nested_post_processors_may_not_exhaust_the_stack() -> None:
    post: dict[str, Any] = {"type": "ByteLevel"}
    for _ in range(400):
        post = {"type": "Sequence", "processors": [post]}
    raw = json.dumps(document(unigram(*PLAIN), post_processor=post)).encode()
    try:
        parse_document(raw)
    except InputError as error:
        assert "nested too deeply" in str(error)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"added_tokens": {}}, None),
        ({"added_tokens": "x"}, r"added_tokens is 'x'; it must be an array"),
        ({"added_tokens": ["x"]}, r"added_tokens\[0\] is 'x'; it must be an object"),
        ({"added_tokens": [{"content": "x"}]}, r"added_tokens\[0\]\.id is None; it must be a token id"),
        (
            {"added_tokens": [{"id": 2, "content": ""}]},
            r"added_tokens\[0\]\.content is ''; it must be a string with",
        ),
        (
            {"added_tokens": [{"id": 2, "content": 3}]},
            r"added_tokens\[0\]\.content is 3; it must be a string",
        ),
        (
            {"added_tokens": [{"id": 2, "content": "x", "special": 1}]},
            r"added_tokens\[0\]\.special is 1; it must be true or false",
        ),
        ({"post_processor": []}, r"post_processor is \[\]; it must be an object"),
        (
            {"post_processor": {"type": "Magic"}},
            r"post_processor\.type is 'Magic'; supported types: TemplateProcessing",
        ),
        (
            {"post_processor": {"type": "Sequence", "processors": [{"type": "Magic"}]}},
            r"post_processor\.processors\[0\]\.type is 'Magic'",
        ),
        (
            {"post_processor": {"type": "BertProcessing", "sep": ["x", 9], "cls": ["a", 1]}},
            r"post_processor\.sep\[1\] is 9; it must be the id of a token",
        ),
        (
            {"post_processor": {"type": "RobertaProcessing", "sep": ["x"], "cls": ["a", 1]}},
            r"post_processor\.sep is \['x'\]; it must be a pair \[token, id\]",
        ),
        (
            {"post_processor": {"type": "TemplateProcessing", "special_tokens": {"<s>": {"ids": [0, 7]}}}},
            r"post_processor\.special_tokens\['<s>'\]\.ids\[1\] is 7; it must be the id of a token",
        ),
        (
            {"post_processor": {"type": "TemplateProcessing", "special_tokens": {"<s>": {"ids": [-1]}}}},
            r"post_processor\.special_tokens\['<s>'\]\.ids\[0\] is -1; it must be a token id",
        ),
        ({"padding": {"pad_id": 5}}, r"padding\.pad_id is 5; it must be the id of a token"),
        ({"padding": 3}, r"padding is 3; it must be an object"),
        ({"normalizer": [], "pre_tokenizer": None}, r"normalizer is \[\]; it must be an object"),
        ({"pre_tokenizer": 1e30}, r"pre_tokenizer is 1e\+30; it must be an object"),
        ({"decoder": "x"}, r"decoder is 'x'; it must be an object"),
    ],
)
def test_fields_around_the_model_are_checked(fields: dict[str, Any], message: str | None) -> None:
    doc = {**document(unigram(*PLAIN)), **fields}
    if message is None:
        validate_document(doc)
        return
    with pytest.raises(InputError, match=message):
        validate_document(doc)


def test_added_tokens_that_would_take_a_piece_of_the_models_ids_are_refused() -> None:
    doc = document({**wordpiece(), "vocab": {"[UNK]": 0, "a": 1, "b": 3}}, "<x>")
    assert load(doc).token_to_id("<x>") == 3
    with pytest.raises(
        InputError, match=r"leaves ids out.*added token '<x>' the id 3, one of the model's own \(0 to 3\)"
    ):
        validate_document(doc)


def test_added_tokens_with_other_numbers_than_the_librarys_are_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    doc = document(unigram(*PLAIN), "<x>")
    doc["added_tokens"][0]["id"] = 77
    with caplog.at_level(logging.WARNING):
        validate_document(doc)
    assert "1 added tokens get other ids" in caplog.text


@pytest.mark.parametrize(
    ("model", "name"),
    [(unigram(*PLAIN), "unigram"), (bpe(["a"], []), "bpe"), (wordpiece("a"), "wordpiece")],
)
def test_the_type_is_recognised_with_and_without_its_name(model: dict[str, Any], name: str) -> None:
    assert model_type({"model": model}) == name
    assert model_type({"model": {key: value for key, value in model.items() if key != "type"}}) == name
    assert model_size({"model": model}) == len(model["vocab"])


def test_steps_are_found_inside_sequences() -> None:
    inner = {"type": "ByteLevel", "add_prefix_space": False}
    nested = {"type": "Sequence", "pretokenizers": [{"type": "Sequence", "pretokenizers": [inner]}]}
    assert is_byte_level(document(bpe(["a"], []), pre_tokenizer=nested))
    assert is_byte_level(document(bpe(["a"], []), normalizer={"type": "Sequence", "normalizers": [inner]}))
    assert not is_byte_level(document(bpe(["a"], []), decoder=inner))
    metaspace = {"type": "Metaspace", "replacement": "~"}
    assert (
        boundary_mark(document(unigram(*PLAIN), decoder={"type": "Sequence", "decoders": [metaspace]})) == "~"
    )
    assert boundary_mark(document(unigram(*PLAIN))) == "▁"
