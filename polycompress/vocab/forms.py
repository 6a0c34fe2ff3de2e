"""What tokens of different tokenizers have in common: the bytes they stand for, and the roles of special ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.modeldir.tokenizer_classes import GENERIC, ROLES, TOKENIZER_CLASSES
from polycompress.vocab.alphabet import BYTE_PIECES, symbol_bytes
from polycompress.vocab.document import (
    boundary_mark,
    is_byte_level,
    model_type,
    parts,
    pieces,
    special_ids,
)

NAMED_RULES: Final = frozenset({"special", "added", "template", "padding", "unknown", "sentinel", "control"})
"""Of the rules by which ids always stay (see `special_ids`): those of tokens that stand for no text of their own."""

_USUAL: Final[Mapping[str, tuple[str, ...]]] = {
    "bos": ("<s>", "<bos>", "<|startoftext|>", "<|begin_of_text|>"),
    "eos": ("</s>", "<eos>", "<|endoftext|>", "<|end_of_text|>"),
    "unk": ("<unk>", "[UNK]"),
    "sep": ("[SEP]",),
    "pad": ("<pad>", "[PAD]", "<|pad|>"),
    "cls": ("[CLS]",),
    "mask": ("<mask>", "[MASK]"),
}


def token_forms(doc: Mapping[str, Any]) -> list[bytes | None]:
    r"""Give each token the form that it has in common with tokens of other tokenizers.

    A space in front means that the token begins a word, one behind it that it ends one.

    Args:
        doc: The state of a checked tokenizer.

    Returns:
        By id, UTF-8 bytes: the boundary mark (``▁``) as a space; WordPiece's ``##`` dropped, and a space in front of
        pieces without it; an end-of-word mark (``</w>``) as a space behind; byte-level pieces and ``<0xNN>`` as the
        bytes that they stand for, which need not be whole characters. None for special and added tokens (see
        `named_tokens`) and where an id has no token.

    Example:
        ``▁und`` of XLM-R, ``Ġund`` of GPT-2 and ``und`` of BERT are all ``b" und"``; ``und`` of the first two and
        ``##und`` of BERT are ``b"und"``.
    """
    names = pieces(doc)
    for number in named_tokens(doc):
        names[number] = None
    model = doc["model"]
    default = "##" if model_type(doc) == "wordpiece" else ""
    prefix = model.get("continuing_subword_prefix", default) or ""
    suffix = model.get("end_of_word_suffix") or ""
    mark, byte_level, fallback = boundary_mark(doc), _writes_bytes(doc), _byte_values(doc)

    def form(piece: str) -> bytes:
        if (byte := fallback.get(piece)) is not None:
            return byte
        continues = bool(prefix) and piece.startswith(prefix) and len(piece) > len(prefix)
        body = piece[len(prefix) :] if continues else piece
        ends = bool(suffix) and body.endswith(suffix)
        body = body[: len(body) - len(suffix)] if ends else body
        spelt = symbol_bytes(body) if byte_level else None
        if spelt is None:
            spelt = (body if prefix or byte_level else body.replace(mark, " ")).encode(
                "utf-8", "surrogatepass"
            )
        # Byte-level pieces hold their spaces themselves.
        begins = bool(prefix) and not continues and not byte_level
        return b" " * begins + spelt + b" " * ends

    return [None if name is None else form(name) for name in names]


def named_tokens(doc: Mapping[str, Any]) -> dict[int, str]:
    """Tokens that stand for no text of their own: special and added ones, and those that the model's parts name.

    Args:
        doc: The state of a checked tokenizer.

    Returns:
        id -> what is written for it, by increasing id. Tokens of two tokenizers that have the same name mean the same.
    """
    names = pieces(doc)
    return {
        number: name
        for number, rule in special_ids(doc).items()
        if rule in NAMED_RULES and (name := names[number]) is not None
    }


def byte_fallback_tokens(doc: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Tokens that write one byte of characters without a piece (``<0x41>``).

    Their forms are those of ordinary pieces (``b"A"``), but such a row has learnt something else.

    Args:
        doc: The state of a checked tokenizer.

    Returns:
        (ids,) as long as `token_forms`.
    """
    known = _byte_values(doc)
    return np.array([name in known for name in pieces(doc)], dtype=np.bool_)


def token_roles(
    doc: Mapping[str, Any],
    tokenizer_config: Mapping[str, Any] | None = None,
    special_tokens_map: Mapping[str, Any] | None = None,
) -> dict[str, int]:
    """Say which tokens have which role.

    Args:
        doc: The state of a checked tokenizer.
        tokenizer_config: ``tokenizer_config.json``. What its ``tokenizer_class`` assumes holds where it says nothing.
        special_tokens_map: ``special_tokens_map.json``; it overrides the former unless that has
            ``added_tokens_decoder``, as in the libraries.

    Returns:
        Role -> id, for those that the tokenizer has: "bos", "eos", "unk", "sep", "pad", "cls", "mask". Where no file
        names a role, the document's own parts do (unknown token, padding, the tokens a post-processor puts around a
        text), then the usual spellings among special tokens. Tokens that a file names but the tokenizer lacks do not
        count.

    Raises:
        InputError: A file gives a role to something that is no token.
    """
    ids = {name: number for number, name in reversed(list(enumerate(pieces(doc)))) if name is not None}
    written = dict(tokenizer_config or {})
    if special_tokens_map and "added_tokens_decoder" not in written:
        written |= special_tokens_map
    assumed = _class_tokens(written)
    found: dict[str, int] = {}
    for key in ROLES:
        role = key.removesuffix("_token")
        text = _token_text(written[key], key) if key in written else assumed.get(key)
        if text in ids:
            found[role] = ids[text]
    for role, number in _own_roles(doc, ids):
        if f"{role}_token" not in written:
            found.setdefault(role, number)
    special = named_tokens(doc)
    for role, spellings in _USUAL.items():
        usual = [ids[text] for text in spellings if ids.get(text) in special]
        if usual and f"{role}_token" not in written:
            found.setdefault(role, usual[0])
    return {role: found[role] for role in (key.removesuffix("_token") for key in ROLES) if role in found}


def _writes_bytes(doc: Mapping[str, Any]) -> bool:
    return is_byte_level(doc) or any(part.get("type") == "ByteLevel" for part in parts(doc, "decoder"))


def _byte_values(doc: Mapping[str, Any]) -> dict[str, bytes]:
    """The byte-fallback pieces of a model that uses them, each with its byte."""
    if not doc["model"].get("byte_fallback") or model_type(doc) == "wordpiece":
        return {}
    return {piece: bytes([value]) for value, piece in enumerate(BYTE_PIECES)}


def _class_tokens(written: Mapping[str, Any]) -> Mapping[str, str]:
    name = written.get("tokenizer_class")
    known = TOKENIZER_CLASSES.get(name.removesuffix("Fast") if isinstance(name, str) else GENERIC)
    return known.tokens if known is not None else {}


def _token_text(value: object, field: str) -> str | None:
    text = value.get("content") if isinstance(value, Mapping) else value
    if text is not None and not isinstance(text, str):
        raise InputError(f"{field} of the tokenizer's settings is {value!r:.80}; it must be a token or null")
    return text


def _own_roles(doc: Mapping[str, Any], ids: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """Roles that the document itself gives."""
    model = doc["model"]
    if isinstance(model.get("unk_id"), int):
        yield "unk", model["unk_id"]
    unknown = model.get("unk_token", "[UNK]" if model_type(doc) == "wordpiece" else None)
    if unknown in ids:
        yield "unk", ids[unknown]
    if doc.get("padding"):
        yield "pad", doc["padding"].get("pad_id", 0)
    yield from _around(doc.get("post_processor"))


def _around(post: Mapping[str, Any] | None) -> Iterator[tuple[str, int]]:
    """The tokens that a checked post-processor puts before and after a single text."""
    kind = post and post.get("type")
    if post is None or kind is None:
        return
    if kind == "Sequence":
        for part in post["processors"]:
            yield from _around(part)
    elif kind in ("BertProcessing", "RobertaProcessing"):
        yield "cls", post["cls"][1]
        yield "sep", post["sep"][1]
    elif kind == "TemplateProcessing":
        steps = [step for step in post.get("single") or [] if isinstance(step, Mapping)]
        own = [next(iter(step)) for step in steps if step]
        if "Sequence" not in own:
            return
        middle = own.index("Sequence")
        for role, around in (("cls", steps[:middle]), ("sep", steps[middle + 1 :])):
            name = next(
                (s["SpecialToken"].get("id") for s in around if isinstance(s.get("SpecialToken"), dict)), None
            )
            numbers = (post["special_tokens"].get(name) or {}).get("ids") if isinstance(name, str) else None
            if numbers:
                yield role, numbers[0]
