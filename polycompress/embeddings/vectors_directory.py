"""A directory of word vectors: ``vectors.json``, and of each language its words, its vectors and perhaps its model."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.word_vectors import MAX_WIDTH, MAX_WORDS, WordVectors, join, of_one_language
from polycompress.errors import InputError
from polycompress.modeldir.checkpoint import Checkpoint
from polycompress.modeldir.header import read_header
from polycompress.modeldir.paths import read_bytes, read_json, safe_file
from polycompress.modeldir.tensors import read_tensor, write_tensors

RECORD: Final = "vectors.json"
SCHEMA: Final = 1
_NAME: Final = re.compile(r"[a-z]{3}(-[A-Z][a-z]{3})?")
_MAX_WORDS_BYTES: Final = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LanguageFiles:
    """What a directory holds of a language besides its words and vectors."""

    record: Mapping[str, Any] = field(default_factory=dict)
    """How they came to be: ``corpus``, ``training``, ``alignment``."""
    model: Path | None = None
    """fastText's model, for words that have no vector."""
    rotation: NDArray[np.float32] | None = None
    """(d, d) What aligned the vectors; the model's own are not."""
    mean: NDArray[np.float32] | None = None
    """(d,) What the vectors were centred on before."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VectorsDirectory:
    """All of a directory."""

    path: Path
    record: Mapping[str, Any]
    """``vectors.json``."""
    vectors: WordVectors
    files: Mapping[str, LanguageFiles]
    """By language."""


def save_directory(
    building: Path, vectors: WordVectors, files: Mapping[str, LanguageFiles], record: Mapping[str, Any]
) -> None:
    """Fill a directory; the caller makes it appear.

    Args:
        building: An empty directory, or one that holds the models already.
        vectors: Words without line ends.
        files: Of every language.
        record: Of all: ``to``, ``command`` and such.

    Raises:
        InputError: A word holds a line end.
    """
    languages: dict[str, Any] = {}
    for code in vectors.languages:
        rows, own = vectors.rows(code), files[code]
        words = [vectors.words[row] for row in rows.tolist()]
        if bad := next((word for word in words if "\n" in word or "\r" in word), None):
            raise InputError(f"The word {bad!r} ({code}) holds a line end and cannot be kept. Leave it out.")
        (building / f"{code}.words").write_text("".join(f"{word}\n" for word in words), "utf-8", newline="\n")
        tensors: dict[str, tuple[str, tuple[int, ...], NDArray[Any]]] = {
            "vectors": ("F32", (len(rows), vectors.width), vectors.matrix[rows])
        }
        if vectors.counts is not None:
            tensors["counts"] = ("I64", (len(rows),), vectors.counts[rows])
        for name, extra in (("rotation", own.rotation), ("mean", own.mean)):
            if extra is not None:
                tensors[name] = ("F32", extra.shape, extra)
        write_tensors(building / f"{code}.safetensors", tensors)
        model = f"{code}.bin" if own.model is not None else None
        if own.model is not None and own.model != building / f"{code}.bin":
            shutil.copyfile(own.model, building / f"{code}.bin")
        languages[code] = {"words": len(rows), "model": model, **own.record}
    document = {"schema": SCHEMA, "width": vectors.width, **record, "languages": languages}
    text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    (building / RECORD).write_text(text, "utf-8", newline="\n")


def load_directory(path: Path) -> VectorsDirectory:
    """Read all of a directory.

    Raises:
        InputError: Something is missing, damaged, or does not fit the rest; the file is named.
    """
    record = read_json(path, RECORD) or {}
    where = path / RECORD
    if record.get("schema") != SCHEMA:
        raise InputError(
            f"{where}: schema {record.get('schema')!r} is not known here, only {SCHEMA}. Use the version that wrote it."
        )
    languages, width = record.get("languages"), record.get("width")
    if (
        not isinstance(languages, dict)
        or not languages
        or not isinstance(width, int)
        or not 1 <= width <= MAX_WIDTH
    ):
        raise InputError(f"{where}: 'languages' or 'width' is missing or wrong. Write the directory anew.")
    parts, files = [], {}
    for code, own in languages.items():
        if not _NAME.fullmatch(code) or not isinstance(own, dict):
            raise InputError(f"{where}: {str(code)[:40]!r} is no entry of a language such as yor-Latn.")
        part, files[code] = _load_language(path, code, own, width)
        parts.append(part)
    return VectorsDirectory(path=path, record=record, vectors=join(parts), files=files)


def _load_language(
    path: Path, code: str, own: Mapping[str, Any], width: int
) -> tuple[WordVectors, LanguageFiles]:
    words = _words(path, f"{code}.words")
    tensors = _tensors(path, f"{code}.safetensors")
    shapes = {
        "vectors": (np.float32, (len(words), width)),
        "counts": (np.int64, (len(words),)),
        "rotation": (np.float32, (width, width)),
        "mean": (np.float32, (width,)),
    }
    for name, (dtype, shape) in shapes.items():
        found = tensors.get(name)
        if (found is None and name == "vectors") or (
            found is not None and (found.dtype != dtype or found.shape != shape)
        ):
            has = "missing" if found is None else f"{found.dtype} {list(found.shape)}"
            raise InputError(
                f"{path / f'{code}.safetensors'}: tensor '{name}' is {has}, but {len(words)} words and a width of "
                f"{width} need {np.dtype(dtype)} {list(shape)}. Write the directory anew."
            )
    for name in ("rotation", "mean"):
        if name in tensors and not np.isfinite(tensors[name]).all():
            raise InputError(f"{path / f'{code}.safetensors'}: tensor '{name}' holds NaN or infinite values.")
    model = None
    if own.get("model") is not None:
        model = safe_file(path, f"{code}.bin")
        if not model.exists():
            raise InputError(f"{model}: is missing, though {RECORD} names it. Restore the file.")
    try:
        part = of_one_language(code, words, tensors["vectors"], tensors.get("counts"))
    except InputError as error:
        raise InputError(f"{path / code}: {error}") from error
    record = {key: value for key, value in own.items() if key not in ("words", "model")}
    files = LanguageFiles(
        record=record, model=model, rotation=tensors.get("rotation"), mean=tensors.get("mean")
    )
    return part, files


def _words(path: Path, name: str) -> list[str]:
    raw = read_bytes(path, name, max_bytes=_MAX_WORDS_BYTES)
    try:
        lines = raw.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path / name}: byte {error.start} is not UTF-8. Write the directory anew."
        ) from error
    if lines[-1]:
        raise InputError(
            f"{path / name}: its last line has no end: it was cut off. Write the directory anew."
        )
    if len(lines) > MAX_WORDS:
        raise InputError(f"{path / name}: more than {MAX_WORDS} words.")
    seen: dict[str, int] = {}
    for number, word in enumerate(lines[:-1], start=1):
        if not word.strip():
            raise InputError(f"{path / name}: line {number} is empty. Write the directory anew.")
        if word in seen:
            raise InputError(
                f"{path / name}: {word!r} stands in line {seen[word]} and again in line {number}."
            )
        seen[word] = number
    return lines[:-1]


def _tensors(path: Path, name: str) -> dict[str, NDArray[Any]]:
    header = read_header(safe_file(path, name), name)
    tensors = {info.name: info for info in header.tensors}
    checkpoint = Checkpoint(
        root=path, files=(name,), tensors=tensors, index=None, metadata={name: header.metadata}
    )
    return {key: read_tensor(checkpoint, key) for key in tensors}
