"""Checkpoints for tests: written and read by the safetensors library, never by the code under test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save_file

Raw = tuple[str, tuple[int, ...], bytes]


def raw_file(
    entries: Mapping[str, Any], data: bytes, *, metadata: Any = None, header: bytes | None = None
) -> bytes:
    """A safetensors file as bytes from header entries as they are, right or wrong."""
    document = {**({"__metadata__": metadata} if metadata is not None else {}), **entries}
    text = json.dumps(document).encode() if header is None else header
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: Any, shape: Any, begin: int, end: int) -> dict[str, Any]:
    """One tensor of a header."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def save(root: Path, tensors: Mapping[str, NDArray[Any]], name: str = "model.safetensors") -> Path:
    """Write one file with the library."""
    root.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), root / name, metadata={"format": "pt"})
    return root


def save_shards(root: Path, *shards: Mapping[str, NDArray[Any]]) -> Path:
    """Write shards with the library, and their index."""
    weight_map = {}
    for number, tensors in enumerate(shards, 1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save(root, tensors, name)
        weight_map.update(dict.fromkeys(tensors, name))
    total = sum(array.nbytes for tensors in shards for array in tensors.values())
    index = {
        "metadata": {"total_size": total, "total_parameters": 1, "extra": "kept"},
        "weight_map": weight_map,
    }
    (root / "model.safetensors.index.json").write_text(json.dumps(index))
    return root


def load_raw(path: Path) -> dict[str, Raw]:
    """Type, shape and bytes of every tensor of a file, as the library reads them."""
    entries = safetensors.deserialize(path.read_bytes())
    return {name: (each["dtype"], tuple(each["shape"]), bytes(each["data"])) for name, each in entries}


def random_bytes(count: int, seed: int = 0) -> bytes:
    """Bytes that differ from row to row."""
    return np.random.default_rng(seed).bytes(count)
