"""Which models a benchmark compares, what to call them, and what they take on disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.modeldir.checkpoint import open_checkpoint
from polycompress.modeldir.directory import file_sha256, read_json
from polycompress.modeldir.exported import graph_bytes, is_exported
from polycompress.modeldir.manifest import MANIFEST_FILE
from polycompress.pipelines.judging.models import find_models
from polycompress.pipelines.trimming.loading import architectures

_TOKENIZER: Final = "tokenizer.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchModel:
    """One of the models."""

    name: str
    """Unlike that of any other."""
    spec: str
    """What was asked for."""
    path: Path
    architecture: str
    weights_bytes: int
    tokenizer_bytes: int | None
    all_bytes: int
    """Of every file in the directory."""
    manifest_sha256: str | None
    exported: bool
    """Whether it is a graph that onnxruntime runs."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "path": self.spec,
            "architecture": self.architecture,
            "engine": "onnxruntime" if self.exported else "torch",
            "manifest_sha256": self.manifest_sha256,
            "bytes": {
                "all": self.all_bytes,
                "weights": self.weights_bytes,
                "tokenizer": self.tokenizer_bytes,
            },
        }


def find_bench_models(models: Sequence[str | os.PathLike[str]]) -> tuple[BenchModel, ...]:
    """Find all models before any of them is measured; of a run with several seeds the first stands for all.

    Raises:
        InputError: There is none, or one cannot be found or read.
    """
    if not models:
        raise InputError("There is no model to measure: give one MODEL or several.")
    found: list[BenchModel] = []
    for spec in models:
        model = find_models(spec)
        name = _unlike(model.name, model.spec, {each.name for each in found})
        found.append(_look_at(model.paths[0], model.spec, name))
    return tuple(found)


def _look_at(path: Path, spec: str, name: str) -> BenchModel:
    config = read_json(path, "config.json")
    assert config is not None
    exported = is_exported(path)
    names = architectures(config)
    tokenizer = path / _TOKENIZER
    return BenchModel(
        name=name,
        spec=spec,
        path=path,
        architecture=names[0] if names else str(config.get("model_type")),
        weights_bytes=graph_bytes(path) if exported else _weights_bytes(path),
        tokenizer_bytes=tokenizer.stat().st_size if tokenizer.is_file() else None,
        all_bytes=_directory_bytes(path),
        manifest_sha256=file_sha256(path, MANIFEST_FILE) if (path / MANIFEST_FILE).is_file() else None,
        exported=exported,
    )


def check_graphs(models: Sequence[BenchModel], *, precisions: Sequence[str], device: str, body: bool) -> None:
    """Refuse what graphs cannot be measured in: they run as they were exported, on the processor.

    Args:
        models: Of which some may be graphs.
        precisions: Asked for.
        device: Where everything runs.
        body: Whether heads are left out.

    Raises:
        InputError: There is a graph among them, and something else is asked for.
    """
    graph = next((each for each in models if each.exported), None)
    if graph is None:
        return
    faults = [
        fault
        for wrong, fault in (
            (tuple(precisions) != ("fp32",), "a graph cannot be converted: give --precision fp32"),
            (device != "cpu", "a graph runs on the processor: give --device cpu"),
            (body, "a graph's head cannot be left out: export it with --body"),
        )
        if wrong
    ]
    if faults:
        raise InputError(f"{graph.path} is an exported graph, so nothing was measured: {'; '.join(faults)}.")


def _weights_bytes(path: Path) -> int:
    return sum((path / file).stat().st_size for file in open_checkpoint(path).files)


def _directory_bytes(path: Path) -> int:
    """Of the files in a directory and below; hidden ones, and links to directories, are left out."""
    total = 0
    for folder, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            file = Path(folder) / name
            if not name.startswith(".") and file.is_file():
                total += file.stat().st_size
    return total


def _unlike(name: str, spec: str, taken: set[str]) -> str:
    """A name that no other model has: the directory's, else what was written, else that with a number."""
    if name not in taken:
        return name
    number = 2
    while f"{spec} ({number})" in taken:
        number += 1
    return spec if spec not in taken and spec != name else f"{spec} ({number})"
