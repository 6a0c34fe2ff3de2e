"""What kind of file it is, told by its name under that of the compression."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

COMPRESSIONS: Final = frozenset({".gz", ".gzip", ".zst", ".zstd", ".bz2", ".xz"})


class Kind(StrEnum):
    """How a shard is read."""

    TEXT = "text"
    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"
    DATASET = "dataset"


KINDS: Final = {
    ".jsonl": Kind.JSONL,
    ".ndjson": Kind.JSONL,
    ".csv": Kind.CSV,
    ".tsv": Kind.TSV,
    ".parquet": Kind.PARQUET,
}
"""By suffix; every other file is plain text, one text a line."""


def kind_of(path: Path) -> Kind:
    """What a file is, by its name alone."""
    name = path.with_suffix("") if path.suffix.lower() in COMPRESSIONS else path
    return KINDS.get(name.suffix.lower(), Kind.TEXT)
