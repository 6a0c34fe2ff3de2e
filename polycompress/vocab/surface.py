"""What the pieces of a vocabulary say in plain text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from polycompress.vocab.alphabet import BYTE_PIECES, symbol_bytes
from polycompress.vocab.document import added_token_ids, boundary_mark, model_type, parts, pieces

Errors = Literal["strict", "replace"]


def piece_text(doc: Mapping[str, Any]) -> list[str | None]:
    """Give each token's text as a person reads it, with a space where a word begins.

    Args:
        doc: The state of a checked tokenizer.

    Returns:
        By id: byte-level pieces decoded (``�`` for bytes that are no whole character), ``▁`` as a space, a
        ``##`` in front and an end-of-word mark dropped; byte-fallback pieces and added tokens as they are
        written; None where an id has no token.
    """
    added, read = set(added_token_ids(doc)), _reader(doc, "replace")
    return [
        name if name is None or number in added else read(name) for number, name in enumerate(pieces(doc))
    ]


def single_character_pieces(doc: Mapping[str, Any]) -> list[tuple[int, str]]:
    """List the tokens that are one character, with or without a word boundary.

    Args:
        doc: The state of a checked tokenizer.

    Returns:
        (id, character) pairs by increasing id. A byte-level piece counts if its bytes are one whole
        character; byte-fallback pieces, boundary marks and spaces alone and added tokens do not.
    """
    added, read = set(added_token_ids(doc)), _reader(doc, "strict")
    found: list[tuple[int, str]] = []
    for number, name in enumerate(pieces(doc)):
        if name is None or number in added:
            continue
        try:
            text = read(name).removeprefix(" ").removesuffix(" ")
        except UnicodeDecodeError:
            continue
        if len(text) == 1 and text != " ":
            found.append((number, text))
    return found


def _reader(doc: Mapping[str, Any], errors: Errors) -> Callable[[str], str]:
    """The function from a piece of this document's model to its text."""
    model = doc["model"]
    prefix = model.get("continuing_subword_prefix", "##" if model_type(doc) == "wordpiece" else "") or ""
    suffix = model.get("end_of_word_suffix") or ""
    mark, plain = boundary_mark(doc), frozenset(BYTE_PIECES)

    def read_bytes(piece: str) -> str:
        bare = piece.removeprefix(prefix).removesuffix(suffix)
        raw = symbol_bytes(bare)
        return bare if raw is None else raw.decode("utf-8", errors)

    def read_marked(piece: str) -> str:
        return piece.removeprefix(prefix).removesuffix(suffix).replace(mark, " ")

    def read_words(piece: str) -> str:
        return piece.removeprefix(prefix)

    if any(
        part.get("type") == "ByteLevel"
        for role in ("normalizer", "pre_tokenizer", "decoder")
        for part in parts(doc, role)
    ):
        return read_bytes
    if model_type(doc) == "wordpiece":
        return read_words
    return lambda piece: piece if piece in plain else read_marked(piece)
