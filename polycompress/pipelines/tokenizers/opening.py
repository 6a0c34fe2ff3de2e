"""A tokenizer opened: its state and the library's object for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from polycompress.modeldir.convert import ensure_tokenizer_json
from polycompress.modeldir.directory import read_bytes
from polycompress.modeldir.sources import ModelSource
from polycompress.pipelines.trimming.loading import make_tokenizer, naming
from polycompress.vocab.document import (
    MAX_DOCUMENT_BYTES,
    document_hash,
    dump_document,
    model_type,
    parse_document,
    pieces,
)
from polycompress.vocab.extending.document import check_extendable

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenTokenizer:
    """A ``tokenizer.json``, read and checked."""

    document: Mapping[str, Any]
    sha256: str
    """Of the file."""
    tokenizer: Tokenizer
    """Truncation and padding off."""

    @property
    def kind(self) -> str:
        """Type of its model."""
        return model_type(self.document)

    @property
    def size(self) -> int:
        """One more than the highest token id."""
        return len(pieces(self.document))


def open_tokenizer(source: ModelSource) -> OpenTokenizer:
    """Open the tokenizer of a model or tokenizer directory.

    Raises:
        InputError: There is none, it is damaged, or its type has no pieces (says what to do).
    """
    path = ensure_tokenizer_json(source.path)
    raw = read_bytes(source.path, path.name, max_bytes=MAX_DOCUMENT_BYTES)
    try:
        document = orjson.loads(raw)
    except ValueError:
        document = None  # opening says what is wrong with it
    with naming(source.path):
        check_extendable(document)
    return _opened(raw, str(path))


def made_tokenizer(document: Mapping[str, Any]) -> OpenTokenizer:
    """A new tokenizer, read back from the bytes that it will be written as."""
    return _opened(dump_document(document), "tokenizer.json")


def _opened(raw: bytes, name: str) -> OpenTokenizer:
    document = parse_document(raw, name)
    return OpenTokenizer(document=document, sha256=document_hash(raw), tokenizer=make_tokenizer(raw))
