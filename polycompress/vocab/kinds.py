"""The tokenizer types that can be trimmed: one record each. A new type is a module and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.vocab import bpe, unigram, wordpiece
from polycompress.vocab.checks import Closure

ModelType = Literal["unigram", "bpe", "wordpiece"]


class Required(Protocol):
    """Says which ids of a model stay whatever is selected, and by which rule."""

    def __call__(self, model: Mapping[str, Any], *, byte_level: bool) -> dict[int, str]:
        """Return id -> rule."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """What the surgery needs to know about one type of model; all functions take the ``model`` object."""

    name: ModelType
    """Our spelling."""
    spelling: str
    """The spelling in ``tokenizer.json``."""
    check: Callable[[Mapping[str, Any]], None]
    """Raises InputError where the model is broken."""
    texts: Callable[[Mapping[str, Any]], list[str | None]]
    """Pieces by id; None where an id has none."""
    size: Callable[[Mapping[str, Any]], int]
    """The number of ids that the vocabulary spans."""
    required: Required
    """Ids that always stay."""
    closure: Callable[[Mapping[str, Any]], Closure]
    """Prepares the step from kept ids to all that they need."""
    trim: Callable[[Mapping[str, Any], NDArray[np.int64]], dict[str, Any]]
    """The model cut to increasing ids, numbered from 0."""


KINDS: tuple[Kind, ...] = (
    Kind(
        name="unigram",
        spelling="Unigram",
        check=unigram.check,
        texts=unigram.texts,
        size=unigram.size,
        required=unigram.required,
        closure=unigram.closure,
        trim=unigram.trim,
    ),
    Kind(
        name="bpe",
        spelling="BPE",
        check=bpe.check,
        texts=bpe.texts,
        size=bpe.size,
        required=bpe.required,
        closure=bpe.closure,
        trim=bpe.trim,
    ),
    Kind(
        name="wordpiece",
        spelling="WordPiece",
        check=wordpiece.check,
        texts=wordpiece.texts,
        size=wordpiece.size,
        required=wordpiece.required,
        closure=wordpiece.closure,
        trim=wordpiece.trim,
    ),
)


def kind_of(doc: Mapping[str, Any]) -> Kind:
    """Find the record for a document's model.

    Args:
        doc: The state of a ``tokenizer.json``.

    Returns:
        The record. Old documents without ``model.type`` are recognised by their fields.

    Raises:
        InputError: The type is not one that can be trimmed.
    """
    model = doc["model"]
    spelling = model.get("type")
    if spelling is None:
        if isinstance(model.get("vocab"), list):
            spelling = "Unigram"
        elif "merges" in model:
            spelling = "BPE"
        elif "continuing_subword_prefix" in model:
            spelling = "WordPiece"
    for kind in KINDS:
        if kind.spelling == spelling:
            return kind
    supported = ", ".join(kind.spelling for kind in KINDS)
    raise InputError(f"model.type is {spelling!r}, which cannot be trimmed; supported types: {supported}")
