"""Small checks of untrusted tokenizer documents; each failure names the field and what would be right."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError

Closure = Callable[[NDArray[np.bool_]], NDArray[np.bool_]]
"""From kept ids to all that they need, both as masks over the ids that a model's vocabulary spans."""

MAX_ID = 1 << 24
"""Ids at or above this are refused: no published vocabulary has a tenth of it, and a list by id must stay
small."""


def wrong(field: str, got: object, wanted: str) -> InputError:
    """Make the error for one field of a tokenizer document.

    Args:
        field: Where in the document, written as a path (``model.vocab[3]``).
        got: The value found there.
        wanted: What would be right.
    """
    return InputError(f"{field} is {reprlib.repr(got)}; it must be {wanted}")


def as_mapping(value: object, field: str) -> dict[str, Any]:
    """Return the value if it is a JSON object, else raise InputError."""
    if not isinstance(value, dict):
        raise wrong(field, value, "an object")
    return value


def as_list(value: object, field: str) -> list[Any]:
    """Return the value if it is a JSON array, else raise InputError."""
    if not isinstance(value, list):
        raise wrong(field, value, "an array")
    return value


def as_id(value: object, field: str) -> int:
    """Return the value if it is a token id that a vocabulary can have, else raise InputError."""
    if type(value) is not int or not 0 <= value < MAX_ID:
        raise wrong(field, value, f"a token id: a whole number from 0 to {MAX_ID - 1}")
    return value


def as_text(value: object, field: str, *, optional: bool = False) -> str | None:
    """Return the value if it is a string (or null where that is allowed), else raise InputError."""
    if value is None and optional:
        return None
    if not isinstance(value, str):
        raise wrong(field, value, "a string or null" if optional else "a string")
    return value


def check_flags(model: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raise InputError where one of the model's switches is neither true, false nor absent."""
    for name in names:
        if not isinstance(model.get(name, False), bool):
            raise wrong(f"model.{name}", model[name], "true or false")


def check_id_vocab(model: Mapping[str, Any]) -> NDArray[np.int64]:
    """Check a vocabulary that maps pieces to ids (BPE, WordPiece).

    Args:
        model: The ``model`` object of the document.

    Returns:
        The ids in the order of the object, shape (pieces,).

    Raises:
        InputError: Not an object, an id that is no whole number or beyond `MAX_ID`, or one id for two pieces.
    """
    vocab = as_mapping(model.get("vocab"), "model.vocab")
    if not set(map(type, vocab.values())) <= {int}:
        piece = next(piece for piece, number in vocab.items() if type(number) is not int)
        raise wrong(f"model.vocab[{piece!r}]", vocab[piece], "a token id (a whole number)")
    largest, smallest = max(vocab.values(), default=0), min(vocab.values(), default=0)
    if smallest < 0 or largest >= MAX_ID:
        number = smallest if smallest < 0 else largest
        piece = next(piece for piece, value in vocab.items() if value == number)
        raise wrong(f"model.vocab[{piece!r}]", number, f"a token id from 0 to {MAX_ID - 1}")
    ids = np.fromiter(vocab.values(), dtype=np.int64, count=len(vocab))
    uses = np.bincount(ids) if ids.size else ids
    if ids.size and uses.max() > 1:
        number = int(uses.argmax())
        names = [piece for piece, value in vocab.items() if value == number][:2]
        raise InputError(
            f"model.vocab gives id {number} to both {names[0]!r} and {names[1]!r}; "
            "every piece needs an id of its own"
        )
    return ids


def id_span(vocab: Mapping[str, int]) -> int:
    """The largest id of an id vocabulary + 1; 0 where it is empty."""
    return max(vocab.values(), default=-1) + 1


def pieces_by_id(vocab: Mapping[str, int]) -> list[str | None]:
    """Order the pieces of an id vocabulary by id, with None where an id has no piece."""
    by_id: list[str | None] = [None] * id_span(vocab)
    for piece, number in vocab.items():
        by_id[number] = piece
    return by_id
