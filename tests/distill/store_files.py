"""Small stores, and shards with something wrong."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycompress.distill.store import TeacherStore, text_key
from polycompress.distill.store_kinds import Kind, sentence_vectors

TEACHER, OTHER = "1a" * 32, "2b" * 32


VECTORS = sentence_vectors(3)


Arrays = Mapping[str, Sequence[NDArray[Any]]]


def keys_of(*texts: str) -> list[str]:
    return [text_key(text) for text in texts]


def vectors(count: int, seed: int = 0) -> Arrays:
    return {"vectors": list(np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32))}


def open_store(path: Path, kind: Kind = VECTORS, teacher: str = TEACHER) -> TeacherStore:
    return TeacherStore(path, teacher, kind)


def filled(path: Path) -> TeacherStore:
    store = open_store(path)
    store.put(keys_of("a", "b"), vectors(2))
    store.put(keys_of("c"), vectors(1, seed=1))
    return store


def shards(path: Path) -> list[Path]:
    return sorted(path.glob("shard-*"))


def rewrite(shard: Path, change: Mapping[str, Any], data: bytes | None = None) -> None:
    """A shard with another header, and perhaps other data."""
    raw = shard.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length]) | change
    header = {name: entry for name, entry in header.items() if entry is not None}
    text = json.dumps(header).encode()
    shard.write_bytes(struct.pack("<Q", len(text)) + text + (raw[8 + length :] if data is None else data))


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
