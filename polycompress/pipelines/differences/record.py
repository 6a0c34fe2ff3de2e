"""The manifest of a model that sparse differences were added to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polycompress
from polycompress.distill.sft import SparseDiff
from polycompress.distill.sft.files import DiffFile
from polycompress.modeldir.directory import file_sha256, read_json
from polycompress.modeldir.figures import part_of
from polycompress.modeldir.manifest import read_manifest
from polycompress.modeldir.sources import ModelSource
from polycompress.modeldir.tensors import Checkpoint
from polycompress.pipelines.trimming.loading import architectures
from polycompress.pipelines.trimming.writing import source_licence


def applied_manifest(
    source: ModelSource,
    checkpoint: Checkpoint,
    parts: Sequence[tuple[DiffFile, SparseDiff]],
    together: SparseDiff,
    *,
    command: Sequence[str],
    after: Mapping[str, int],
) -> dict[str, Any]:
    """The facts of a result.

    Args:
        source: The base model.
        checkpoint: Its weights.
        parts: Each file, and the difference in it.
        together: All of them as one.
        command: What to record as the command.
        after: ``parameters`` and ``bytes`` of the result.
    """
    config = read_json(source.path, "config.json") or {}
    nbytes = sum(info.nbytes for info in checkpoint.tensors.values())
    parameters = sum(tensor.size for tensor in together.info.base.values())
    read = ["config.json", "tokenizer.json", *checkpoint.files]
    return {
        "tool": {"name": "polycompress", "version": polycompress.__version__},
        "command": list(command),
        "config": {"diffs": [str(file.path) for file, _ in parts], "to": source.spec},
        "seed": None,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": {
            "spec": source.spec,
            "name": source.name,
            "revision": source.revision,
            "model_type": config.get("model_type"),
            "architectures": architectures(config) or None,
            "license": source_licence(source.path),
            "files": {
                name: file_sha256(source.path, name) for name in read if (source.path / name).is_file()
            },
        },
        "architectures": list(architectures({**config, **together.info.config})),
        "languages": [{"code": code} for code in together.info.languages],
        "sizes": {"before": {"parameters": parameters, "bytes": nbytes}, "after": dict(after)},
        "sparse": {
            "k": together.k,
            "density": together.density,
            "base_parameters": parameters,
            "tensors": len(together.tensors),
            "dense": sorted(together.dense),
            "dropped": list(together.info.dropped),
            "diffs": [_part(file, diff) for file, diff in parts],
        },
        "notes": list(together.info.notes),
        **_known(source.path, together),
    }


def _part(file: DiffFile, diff: SparseDiff) -> dict[str, Any]:
    return {
        "file": file.path.name,
        "digest": diff.digest,
        "k": diff.k,
        "task": diff.info.task,
        "languages": list(diff.info.languages),
    }


def _known(root: Path, diff: SparseDiff) -> dict[str, Any]:
    """Which task the result is tuned for: the differences', else the source's."""
    if diff.info.task is not None:
        return {"finetuning": {"task": diff.info.task, "train_languages": list(diff.info.languages)}}
    found = part_of(read_manifest(root) or {}, "finetuning")
    return {"finetuning": dict(found)} if found else {}
