"""The counts file: what was counted in a corpus, per language, for one tokenizer.

An ``.npz`` without pickle. Besides the arrays it holds one JSON object, ``meta``, with the schema, the tokenizer's
SHA-256 and, per language, totals and a description of the corpus.

======================  ==========================================================================================
array                   content
======================  ==========================================================================================
``meta``                (n,) uint8, UTF-8 JSON
``<code>/ids``          (t,) int64, token ids seen, increasing
``<code>/counts``       (t,) int64 for a corpus, float64 for word frequencies
``<code>/held_ids``     (h,) int64, tokens of the held-out texts, one text after the other
``<code>/held_lengths``  (m,) int64, tokens of each held-out text
``<code>/held_texts``   (b,) uint8, the held-out texts themselves, joined by line feeds; may be absent
======================  ==========================================================================================
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.modeldir.atomic import atomic_file
from polycompress.vocab.merging import check_counts, merge_counts, merge_named_counts

__all__ = [
    "Counts",
    "LanguageCounts",
    "check_counts",
    "load_counts",
    "merge_counts",
    "merge_named_counts",
    "pack_counts",
    "save_counts",
]

SCHEMA: Final = 1
MAX_FILE_BYTES: Final = 1 << 31
MAX_META_BYTES: Final = 1 << 26
MAX_UNPACKED_BYTES: Final = 1 << 32
"""Of all arrays together: a small file may unpack to more than memory holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageCounts:
    """Counts of one language."""

    ids: NDArray[np.int64]
    """(t,) token ids seen, increasing."""
    counts: NDArray[np.int64] | NDArray[np.float64]
    """(t,) how often; floating for word frequencies."""
    texts: int
    characters: int
    bytes: int
    seen_once: int | None
    """Tokens seen exactly once; None for word frequencies, which know no such thing."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """What was counted: files with their SHA-256, or the word list and its version."""
    held_out: tuple[NDArray[np.int64], ...] = ()
    """Token ids of a sample of the texts that were never counted."""
    held_out_texts: tuple[str, ...] | None = None
    """Those texts, where they may be kept; needed to check a trimmed tokenizer against them."""

    @property
    def tokens(self) -> float:
        """All tokens counted."""
        return float(self.counts.sum())

    def dense(self, vocab_size: int) -> NDArray[np.float64]:
        """(V,) counts over the whole vocabulary."""
        dense = np.zeros(vocab_size, dtype=np.float64)
        dense[self.ids] = self.counts
        return dense


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Counts of one or more languages under one tokenizer."""

    tokenizer_sha256: str
    vocab_size: int
    languages: Mapping[str, LanguageCounts]


def save_counts(counts: Counts, path: Path) -> None:
    """Write a counts file, whole or not at all."""
    packed = pack_counts(counts)
    with atomic_file(path) as file:
        file.write(packed)


def pack_counts(counts: Counts) -> bytes:
    """The bytes of a counts file."""
    meta: dict[str, Any] = {
        "schema": SCHEMA,
        "tokenizer_sha256": counts.tokenizer_sha256,
        "vocab_size": counts.vocab_size,
        "languages": {},
    }
    arrays: dict[str, NDArray[Any]] = {}
    for code, language in counts.languages.items():
        meta["languages"][code] = {
            "texts": language.texts,
            "characters": language.characters,
            "bytes": language.bytes,
            "seen_once": language.seen_once,
            "source": dict(language.source),
        }
        arrays[f"{code}/ids"] = language.ids.astype(np.int64)
        arrays[f"{code}/counts"] = language.counts
        arrays[f"{code}/held_ids"] = np.concatenate([*language.held_out, np.empty(0, dtype=np.int64)])
        arrays[f"{code}/held_lengths"] = np.array([len(ids) for ids in language.held_out], dtype=np.int64)
        if language.held_out_texts is not None:
            arrays[f"{code}/held_texts"] = _bytes("\n".join(language.held_out_texts))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, meta=_bytes(json.dumps(meta, ensure_ascii=False)), **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def load_counts(path: Path) -> Counts:
    """Read a counts file.

    Raises:
        InputError: It is missing, damaged, of another schema, or holds impossible numbers.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such counts file; make one by counting a corpus")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{path}: larger than {MAX_FILE_BYTES} bytes; this is no counts file")
        if not zipfile.is_zipfile(path):
            raise InputError(
                f"{path}: not a readable counts file: it is no .npz archive; give what `polycompress count` wrote"
            )
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if sum(entry.file_size for entry in archive.zip.infolist()) > MAX_UNPACKED_BYTES:
                raise InputError(
                    f"{path}: unpacks to more than {MAX_UNPACKED_BYTES} bytes; this is no counts file"
                )
            meta = json.loads(archive["meta"][:MAX_META_BYTES].tobytes().decode())
            if meta.get("schema") != SCHEMA:
                raise InputError(
                    f"{path}: schema {meta.get('schema')!r}, but this version reads {SCHEMA}; count again"
                )
            languages = {
                code: _language(archive, code, entry, int(meta["vocab_size"]))
                for code, entry in meta["languages"].items()
            }
            return Counts(
                tokenizer_sha256=str(meta["tokenizer_sha256"]),
                vocab_size=int(meta["vocab_size"]),
                languages=languages,
            )
    except InputError:
        raise
    except Exception as error:  # damaged archives make zipfile, zlib and numpy raise errors of many kinds
        raise InputError(f"{path}: not a readable counts file ({error}); count again") from error


def _language(
    archive: Mapping[str, NDArray[Any]], code: str, entry: Mapping[str, Any], size: int
) -> LanguageCounts:
    ids, counts = archive[f"{code}/ids"], archive[f"{code}/counts"]
    if ids.ndim != 1 or ids.shape != counts.shape or counts.dtype.kind not in "if":
        raise ValueError(f"{code}: ids and counts do not fit each other")
    if len(ids) and (ids[0] < 0 or ids[-1] >= size or not bool((np.diff(ids) > 0).all())):
        raise ValueError(f"{code}: ids are not increasing numbers below {size}")
    if not bool(np.isfinite(counts).all()) or bool((counts < 0).any()):
        raise ValueError(f"{code}: counts below zero or not finite")
    lengths = archive[f"{code}/held_lengths"]
    held = archive[f"{code}/held_ids"]
    if held.dtype.kind != "i" or (len(held) and not 0 <= held.min() <= held.max() < size):
        raise ValueError(f"{code}: tokens of the held-out texts are not numbers below {size}")
    if lengths.dtype.kind != "i" or bool((lengths < 0).any()) or int(lengths.sum()) != len(held):
        raise ValueError(f"{code}: the held-out texts' lengths do not add up")
    texts = archive[f"{code}/held_texts"].tobytes().decode() if f"{code}/held_texts" in archive else None
    return LanguageCounts(
        ids=ids,
        counts=counts,
        texts=int(entry["texts"]),
        characters=int(entry["characters"]),
        bytes=int(entry["bytes"]),
        seen_once=None if entry["seen_once"] is None else int(entry["seen_once"]),
        source=dict(entry["source"]),
        held_out=tuple(np.split(held, np.cumsum(lengths)[:-1])) if len(lengths) else (),
        held_out_texts=None if texts is None else tuple(texts.split("\n")) if texts else (),
    )


def _bytes(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), dtype=np.uint8)
