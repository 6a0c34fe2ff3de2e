"""Open a model for surgery: its tensors' headers, configuration and tokenizer, without building the model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.languages import Language, find_languages
from polycompress.modeldir.axes import VocabAxes, find_vocab_axes
from polycompress.modeldir.convert import ensure_tokenizer_json
from polycompress.modeldir.directory import read_bytes, read_json
from polycompress.modeldir.sources import ModelSource, resolve_model
from polycompress.modeldir.tensors import Checkpoint, open_checkpoint
from polycompress.vocab.document import MAX_DOCUMENT_BYTES, document_hash, parse_document, special_ids
from polycompress.vocab.evidence import piece_preference
from polycompress.vocab.surface import piece_text
from polycompress.vocab.surgery import closer

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """A tokenizer and what is known of its pieces."""

    document: Mapping[str, Any]
    """The ``tokenizer.json`` state."""
    sha256: str
    """Of the ``tokenizer.json`` file."""
    tokenizer: Tokenizer
    """Truncation and padding off."""
    size: int
    """V: one more than the highest token id."""
    texts: list[str | None]
    """Surface text of each piece."""
    preference: NDArray[np.float64]
    """(V,) how common each piece is in the tokenizer's own view."""
    special: Mapping[int, str]
    """Ids that stay whatever is selected, with the rule that keeps them."""
    close: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    """Adds to a selection what it needs (see ``surgery.close_ids``)."""


_OPENED_LAST: dict[str, Vocabulary] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenModel:
    """A model directory, opened."""

    source: ModelSource
    config: Mapping[str, Any]
    checkpoint: Checkpoint
    axes: VocabAxes
    vocabulary: Vocabulary


def open_model(model: str | os.PathLike[str]) -> OpenModel:
    """Open a model directory, the word ``demo``, or ``owner/name[@revision]``.

    Raises:
        InputError: Anything about it is missing, damaged or unsupported; the message says what to do.
    """
    source = resolve_model(model)
    config = read_json(source.path, "config.json")
    assert config is not None
    checkpoint = open_checkpoint(source.path)
    vocabulary = open_vocabulary(source)
    with naming(source.path):
        axes = find_vocab_axes(config, checkpoint.tensors, vocabulary.size)
    return OpenModel(source=source, config=config, checkpoint=checkpoint, axes=axes, vocabulary=vocabulary)


def architectures(config: Mapping[str, Any]) -> list[str]:
    """The class names that a configuration gives; none where it gives something else."""
    names = config.get("architectures")
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


@contextmanager
def naming(root: Path) -> Iterator[None]:
    """Put a model directory's name before the messages of checks that do not know it."""
    try:
        yield
    except InputError as error:
        if type(error) is not InputError or str(root) in str(error):
            raise
        raise InputError(f"{root}: {error}") from error


def asked_languages(langs: str | Sequence[str]) -> tuple[Language, ...]:
    """Languages given as text with commas or as a list of codes and names."""
    return find_languages(langs if isinstance(langs, str) else ",".join(langs))


def open_vocabulary(source: ModelSource) -> Vocabulary:
    """Read a model directory's ``tokenizer.json``.

    The vocabulary opened last is kept, by its file's hash: trimming one model in several ways reads it once.
    """
    path = ensure_tokenizer_json(source.path)
    raw = read_bytes(source.path, path.name, max_bytes=MAX_DOCUMENT_BYTES)
    sha256 = document_hash(raw)
    if sha256 not in _OPENED_LAST:
        document = parse_document(raw, str(path))
        with naming(source.path):
            tokenizer = make_tokenizer(raw)
        _OPENED_LAST.clear()
        _OPENED_LAST[sha256] = _vocabulary(document, sha256, tokenizer)
    return _OPENED_LAST[sha256]


def _vocabulary(document: Mapping[str, Any], sha256: str, tokenizer: Tokenizer) -> Vocabulary:
    texts = piece_text(document)
    special = special_ids(document)
    return Vocabulary(
        document=document,
        sha256=sha256,
        tokenizer=tokenizer,
        size=len(texts),
        texts=texts,
        preference=piece_preference(document, len(texts)),
        special=special,
        close=closer(document, special),
    )


def make_tokenizer(raw: bytes) -> Tokenizer:
    """Build a tokenizer from the bytes of a ``tokenizer.json``, with truncation and padding off.

    Raises:
        InputError: The library refuses the state.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer: Tokenizer = Tokenizer.from_buffer(raw)
    except BaseException as error:  # the library panics on some states
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise InputError(f"tokenizer.json: the tokenizers library refuses it: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
