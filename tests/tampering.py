"""Make variants of a model directory, each with something wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save_file

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
Tamper = Callable[[Path], object]


def variant(source: Path, folder: Path, *tampers: Tamper) -> Path:
    """A copy of a model directory, tampered with."""
    shutil.copytree(source, folder)
    for tamper in tampers:
        tamper(folder)
    return folder


def put(name: str, content: bytes | str) -> Tamper:
    """Replace a file, or make it."""
    return lambda root: (root / name).write_bytes(content.encode() if isinstance(content, str) else content)


def drop(name: str) -> Tamper:
    """Remove a file."""
    return lambda root: (root / name).unlink()


def edit(name: str, **fields: Any) -> Tamper:
    """Set fields of a JSON object; ``model__vocab`` is the field ``vocab`` of the field ``model``."""

    def tamper(root: Path) -> None:
        document = json.loads((root / name).read_text(encoding="utf-8"))
        for field, value in fields.items():
            *above, last = field.split("__")
            place = document
            for key in above:
                place = place[key]
            place[last] = value
        (root / name).write_text(json.dumps(document), encoding="utf-8")

    return tamper


def change(name: str, function: Callable[[Any], object]) -> Tamper:
    """Change the parsed JSON of a file in place."""

    def tamper(root: Path) -> None:
        document = json.loads((root / name).read_text(encoding="utf-8"))
        function(document)
        (root / name).write_text(json.dumps(document), encoding="utf-8")

    return tamper


def cut(name: str, size: int) -> Tamper:
    """Truncate a file; a negative size counts from its end."""

    def tamper(root: Path) -> None:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[:size])

    return tamper


def shards(root: Path) -> None:
    """Split the weights into two shards with an index."""
    tensors = load_file(root / WEIGHTS)
    names = sorted(tensors)
    parts = {FIRST: names[::2], SECOND: names[1::2]}
    for file, held in parts.items():
        save_file({name: tensors[name] for name in held}, root / file, metadata={"format": "pt"})
    index = {
        "metadata": {"total_size": sum(tensor.nbytes for tensor in tensors.values())},
        "weight_map": {name: file for file, held in parts.items() for name in held},
    }
    (root / INDEX).write_text(json.dumps(index), encoding="utf-8")
    (root / WEIGHTS).unlink()


def placed(file: object) -> Tamper:
    """Let the index put its first tensor into another file."""

    def set_first(index: Any) -> None:
        index["weight_map"][next(iter(index["weight_map"]))] = file

    return lambda root: (shards(root), change(INDEX, set_first)(root))


def linked(name: str, target: str) -> Tamper:
    """Put a symbolic link in the place of a file."""

    def tamper(root: Path) -> None:
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(target)

    return tamper
