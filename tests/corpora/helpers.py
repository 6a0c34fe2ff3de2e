"""Files to read, packed in every way, and what they are cut into."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Sequence
from pathlib import Path

import zstandard

from polycompress.corpora import CorpusSpec, Reading, Shard, make_shards, read_shard
from polycompress.languages import find_language

TEXT = "Guten Tag.\r\nÜber allen Gipfeln\n\n  \nist Ruh 你好\nohne Ende"
LINES = ["Guten Tag.", "Über allen Gipfeln", "ist Ruh 你好", "ohne Ende"]
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "txt": bytes,
    "gz": gzip.compress,
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
CHECKSUM = {"gz": -8, "zst": -1, "bz2": 10, "xz": -30}
"""Where one of the bytes lies that guard the content."""


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def shards_of(
    paths: Sequence[Path], reading: Reading | None = None, size: int = 1 << 27
) -> tuple[Shard, ...]:
    spec = CorpusSpec(find_language("de"), "", tuple(paths))
    return make_shards(spec, reading or Reading(), bytes_per_shard=size)


def texts_of(path: Path, reading: Reading | None = None) -> list[str]:
    (shard,) = shards_of([path])
    return list(read_shard(shard, reading or Reading()))
