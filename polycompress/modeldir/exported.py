"""Directories that hold a model as a graph for onnxruntime instead of as weights."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from polycompress.modeldir.checkpoint import INDEX_FILE, SINGLE_FILE
from polycompress.modeldir.figures import part_of
from polycompress.modeldir.manifest import read_manifest
from polycompress.modeldir.paths import safe_file

GRAPH_FILE: Final = "model.onnx"
DATA_FILE: Final = "model.onnx.data"
"""Weights beside the graph: a file of protobuf ends at 2 GB."""


def is_exported(root: Path) -> bool:
    """Whether a directory holds a graph and no weights; where it holds both, the weights are the model.

    Raises:
        InputError: One of the files leads out of the directory.
    """
    weights = (SINGLE_FILE, INDEX_FILE)
    return safe_file(root, GRAPH_FILE).is_file() and not any(
        safe_file(root, name).exists() for name in weights
    )


def graph_files(root: Path) -> tuple[str, ...]:
    """Names of the files that the graph consists of.

    Raises:
        InputError: One of them leads out of the directory.
    """
    return tuple(name for name in (GRAPH_FILE, DATA_FILE) if safe_file(root, name).is_file())


def graph_bytes(root: Path) -> int:
    """Bytes of those files."""
    return sum((root / name).stat().st_size for name in graph_files(root))


def stated_parameters(root: Path) -> dict[str, int | None]:
    """``total``, ``embedding`` and ``active`` parameters of the source, which a graph does not tell.

    Raises:
        InputError: The manifest is damaged.
    """
    stated = part_of(part_of(read_manifest(root) or {}, "export"), "parameters")
    numbers = {name: stated.get(name) for name in ("total", "embedding", "active")}
    return {
        name: number if isinstance(number, int) and not isinstance(number, bool) and number >= 0 else None
        for name, number in numbers.items()
    }
