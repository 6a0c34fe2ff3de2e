"""A `tokenizer.json` as data: reading and checking it, its pieces by id, and the ids that always stay.

Ids are those that the `tokenizers` library gives when it loads the document. For pieces of the model they
stand in the file. For an added token that is no piece of the model the library ignores the file's number and
counts on from the size of the model's vocabulary; so do we.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from polycompress.errors import InputError
from polycompress.vocab.checks import as_id, as_list, as_mapping, as_text, wrong
from polycompress.vocab.kinds import ModelType, kind_of
from polycompress.vocab.postprocessor import post_processor_ids

logger = logging.getLogger(__name__)

Document = dict[str, Any]

MAX_DOCUMENT_BYTES = 256 * 1024 * 1024
"""Larger files are refused before parsing; the largest published tokenizer.json files have some 60 MB."""


def load_document(path: Path) -> Document:
    """Read and check a ``tokenizer.json``.

    Args:
        path: The file.

    Returns:
        Its state, as JSON objects and arrays.

    Raises:
        InputError: The file is missing, too large, not JSON, or not a tokenizer that can be trimmed.
    """
    try:
        size = path.stat().st_size
        if size > MAX_DOCUMENT_BYTES:
            raise InputError(
                f"{path} has {size} bytes; a tokenizer.json of more than {MAX_DOCUMENT_BYTES} is refused"
            )
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror or error}; give a directory with a tokenizer.json"
        ) from None
    return parse_document(raw, str(path))


def parse_document(raw: bytes, name: str = "tokenizer.json") -> Document:
    """Parse and check the bytes of a ``tokenizer.json``.

    Args:
        raw: The file's content.
        name: How errors name it.

    Returns:
        Its state, as JSON objects and arrays.

    Raises:
        InputError: Not JSON in UTF-8, or not a tokenizer that can be trimmed.
    """
    try:
        doc = orjson.loads(raw)
    except ValueError as error:
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as wrong_byte:
            raise InputError(
                f"{name} is not UTF-8 at byte {wrong_byte.start}; fetch the file again"
            ) from None
        raise InputError(f"{name} is not valid JSON: {error}; fetch the file again") from None
    try:
        validate_document(doc)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except RecursionError:
        raise InputError(f"{name} is nested too deeply to be a tokenizer.json") from None
    return as_mapping(doc, name)


def validate_document(doc: object) -> None:
    """Check the state of a tokenizer from an untrusted source; everything else here trusts a checked one.

    Args:
        doc: What JSON parsing gave.

    Raises:
        InputError: Names the field, its value and what would be right.
    """
    body = as_mapping(doc, "the document")
    as_mapping(body.get("model"), "model")
    kind = kind_of(body)
    kind.check(body["model"])
    for role in ("normalizer", "pre_tokenizer", "decoder"):
        if body.get(role) is not None:
            as_mapping(body[role], role)
    for index, token in enumerate(as_list(body.get("added_tokens") or [], "added_tokens")):
        field = f"added_tokens[{index}]"
        as_mapping(token, field)
        as_id(token.get("id"), f"{field}.id")
        if not as_text(token.get("content"), f"{field}.content"):
            raise wrong(f"{field}.content", "", "a string with at least one character")
        if not isinstance(token.get("special", False), bool):
            raise wrong(f"{field}.special", token["special"], "true or false")
    _check_added_numbers(body)
    names = pieces(body)
    for number, field in _written_ids(body):
        if number >= len(names) or names[number] is None:
            raise wrong(field, number, "the id of a token (no token has this one)")


def _check_added_numbers(doc: Mapping[str, Any]) -> None:
    """Refuse added tokens that land among the model's ids; warn where the library departs from the file."""
    own, moved = kind_of(doc).texts(doc["model"]), 0
    for token, number in zip(doc.get("added_tokens") or [], added_token_ids(doc), strict=True):
        if number < len(own) and own[number] != token["content"]:
            raise InputError(
                f"model.vocab leaves ids out, so the tokenizers library gives the added token "
                f"{token['content']!r} the id {number}, one of the model's own (0 to {len(own) - 1}); "
                "add the token to model.vocab or close the gaps"
            )
        moved += token["id"] != number
    if moved:
        logger.warning("%d added tokens get other ids from the tokenizers library than the file says", moved)


def _written_ids(doc: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Ids that the document writes down outside its vocabulary: the post-processor's and the padding's."""
    yield from post_processor_ids(doc.get("post_processor"))
    if doc.get("padding") is not None:
        padding = as_mapping(doc["padding"], "padding")
        yield as_id(padding.get("pad_id", 0), "padding.pad_id"), "padding.pad_id"


def model_type(doc: Mapping[str, Any]) -> ModelType:
    """Say which kind of model a checked document holds."""
    return kind_of(doc).name


def model_size(doc: Mapping[str, Any]) -> int:
    """The number of ids that the model's own vocabulary spans; added tokens may come after them."""
    return kind_of(doc).size(doc["model"])


def added_token_ids(doc: Mapping[str, Any]) -> list[int]:
    """Number the added tokens as the `tokenizers` library does on loading.

    Args:
        doc: The state of a tokenizer.

    Returns:
        One id for each entry of ``added_tokens``: that of the model's piece with this text if there is one;
        otherwise the next after the size of the model's vocabulary and after the largest id given so far.
    """
    added = doc.get("added_tokens") or []
    if not added:
        return []
    vocab = doc["model"]["vocab"]
    wanted = {token["content"] for token in added}
    if isinstance(vocab, dict):
        known = {content: vocab[content] for content in wanted if content in vocab}
    else:
        known = {entry[0]: index for index, entry in enumerate(vocab) if entry[0] in wanted}
    numbers: list[int] = []
    largest = -1
    for token in added:
        number = known.setdefault(token["content"], max(len(vocab), largest + 1))
        numbers.append(number)
        largest = max(largest, number)
    return numbers


def pieces(doc: Mapping[str, Any]) -> list[str | None]:
    """List the tokens by id, over the model's vocabulary and the added tokens.

    Args:
        doc: The state of a tokenizer.

    Returns:
        The tokens as they are written in the document; None where an id has none.
    """
    names = kind_of(doc).texts(doc["model"])
    for token, number in zip(doc.get("added_tokens") or [], added_token_ids(doc), strict=True):
        if number >= len(names):
            names.extend([None] * (number + 1 - len(names)))
        names[number] = names[number] or token["content"]
    return names


def special_ids(doc: Mapping[str, Any]) -> dict[int, str]:
    """Say which ids stay whatever is selected.

    Args:
        doc: The state of a checked tokenizer.

    Returns:
        id -> the first rule that keeps it, in increasing order of ids. Rules: "special" and "added" (added
        tokens), "template" (named by the post-processor), "padding", "unknown", "byte" (byte fallback),
        "alphabet" (byte symbols; all characters where unseen ones cannot be told), "no unknown token",
        "minimum score", "sentinel" (T5's ``<extra_id_0>``), "control" (Unigram pieces with score 0), "word
        boundary" (``▁``).
    """
    rules: dict[int, str] = {}
    for token, number in zip(doc.get("added_tokens") or [], added_token_ids(doc), strict=True):
        if rules.get(number) != "special":
            rules[number] = "special" if token.get("special", False) else "added"
    for number, field in _written_ids(doc):
        rules.setdefault(number, "padding" if field == "padding.pad_id" else "template")
    kind = kind_of(doc)
    for number, rule in kind.required(doc["model"], byte_level=is_byte_level(doc)).items():
        rules.setdefault(number, rule)
    names, mark = kind.texts(doc["model"]), boundary_mark(doc)
    if mark in names:
        rules.setdefault(names.index(mark), "word boundary")
    return dict(sorted(rules.items()))


def parts(doc: Mapping[str, Any], role: str) -> Iterator[Mapping[str, Any]]:
    """Walk through a document's normalizers, pre-tokenizers or decoders, sequences opened.

    Args:
        doc: The state of a tokenizer.
        role: "normalizer", "pre_tokenizer" or "decoder".

    Yields:
        The single steps in order.
    """
    waiting = [doc.get(role)]
    while waiting:
        part = waiting.pop(0)
        if not isinstance(part, Mapping):
            continue
        inner = next((part[key] for key in ("normalizers", "pretokenizers", "decoders") if key in part), None)
        if isinstance(inner, list):
            waiting = inner + waiting
        else:
            yield part


def is_byte_level(doc: Mapping[str, Any]) -> bool:
    """Whether the tokenizer turns text into GPT-2's byte symbols before the model sees it."""
    return any(
        part.get("type") == "ByteLevel"
        for role in ("normalizer", "pre_tokenizer")
        for part in parts(doc, role)
    )


def boundary_mark(doc: Mapping[str, Any]) -> str:
    """The character that stands for a space in pieces: a Metaspace step's replacement, else ``▁``."""
    for role in ("pre_tokenizer", "decoder"):
        for part in parts(doc, role):
            if part.get("type") == "Metaspace" and isinstance(part.get("replacement"), str):
                return str(part["replacement"])
    return "▁"


def document_hash(raw: bytes) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    return hashlib.sha256(raw).hexdigest()


def dump_document(doc: Mapping[str, Any]) -> bytes:
    """Write a document as compact JSON in UTF-8, as the `tokenizers` library does.

    Args:
        doc: The state of a tokenizer.

    Returns:
        The bytes of a ``tokenizer.json``.
    """
    return orjson.dumps(doc)
