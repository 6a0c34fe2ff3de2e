"""What the pieces of a vocabulary say in plain text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from polycompress.vocab.alphabet import BYTE_PIECES, symbol_bytes
from polycompress.vocab.document import added_token_ids, boundary_mark, model_type, parts, pieces

Errors = Literal["strict", "replace"]

_BROKEN: Final = "\N{REPLACEMENT CHARACTER}"
_LONGEST: Final = 3
"""Of a single character with a space before and after it."""


def piece_text(doc: Mapping[str, Any]) -> list[str | None]:
    """Give each token's text as a person reads it, with a space where a word begins.

    Args:
        doc: The state of a checked tokenizer.

    Returns:
        By id: byte-level pieces decoded (``�`` for bytes that are no whole character), ``▁`` as a space, a
        ``##`` in front and an end-of-word mark dropped; byte-fallback pieces and added tokens as they are
        written; None where an id has no token.
    """
    names = pieces(doc)
    if (mark := _only_mark(doc)) is not None:
        texts = [
            name and name.replace(mark, " ") for name in names
        ]  # 250,000 times: no call more than needed
    else:
        read = _reader(doc, "replace")
        texts = [None if name is None else read(name) for name in names]
    for number in added_token_ids(doc):
        texts[number] = names[number]
    return texts


def single_character_pieces(
    doc: Mapping[str, Any], texts: Sequence[str | None] | None = None
) -> list[tuple[int, str]]:
    """List the tokens that are one character, with or without a word boundary.

    Args:
        doc: The state of a checked tokenizer.
        texts: What `piece_text` gave for it, where that is at hand.

    Returns:
        (id, character) pairs by increasing id. A byte-level piece counts if its bytes are one whole
        character; byte-fallback pieces, boundary marks and spaces alone and added tokens do not.
    """
    added = set(added_token_ids(doc))
    short = [
        (number, text)
        for number, text in enumerate(piece_text(doc) if texts is None else texts)
        if text is not None and len(text) <= _LONGEST and number not in added
    ]
    stripped = ((number, text.removeprefix(" ").removesuffix(" ")) for number, text in short)
    return [(number, text) for number, text in stripped if len(text) == 1 and text not in {" ", _BROKEN}]


def _only_mark(doc: Mapping[str, Any]) -> str | None:
    """The boundary mark, where turning it into a space is all there is to read pieces (byte pieces hold none)."""
    model = doc["model"]
    plain = not (model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"))
    return boundary_mark(doc) if plain and model_type(doc) != "wordpiece" and not _writes_bytes(doc) else None


def _writes_bytes(doc: Mapping[str, Any]) -> bool:
    return any(
        part.get("type") == "ByteLevel"
        for role in ("normalizer", "pre_tokenizer", "decoder")
        for part in parts(doc, role)
    )


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

    if _writes_bytes(doc):
        return read_bytes
    if model_type(doc) == "wordpiece":
        return read_words
    return lambda piece: piece if piece in plain else read_marked(piece)
