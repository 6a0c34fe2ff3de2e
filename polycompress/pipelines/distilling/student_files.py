"""Write a student whose layers are its teacher's: files in, files out, without building either model."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polycompress
from polycompress.distill.layer_map import LayerMap
from polycompress.distill.layers import LayerPlan, plan_layers
from polycompress.modeldir.atomic import atomic_directory, check_apart
from polycompress.modeldir.checkpoint import INDEX_FILE, Checkpoint, open_checkpoint
from polycompress.modeldir.directory import copied_files, file_sha256, read_json, safe_file, stale_files
from polycompress.modeldir.header import TensorInfo
from polycompress.modeldir.manifest import read_manifest, write_manifest
from polycompress.modeldir.rawio import Progress, copy_file, read_into, reading
from polycompress.modeldir.student_card import render_student_card
from polycompress.modeldir.writing import write_tensors
from polycompress.pipelines.trimming.loading import architectures, naming
from polycompress.pipelines.trimming.writing import source_licence

_BLOCK_BYTES: Final = 1 << 20
_TOKENIZER: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
)
_PASSED_ON: Final = ("languages", "kept_ids", "pad_rows", "finetuning")
"""What the source's manifest says that is true of a student with the same vocabulary as well."""


def write_student(
    source: Path,
    layer_map: LayerMap,
    out: Path,
    record: Mapping[str, Any],
    *,
    name: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a model directory that holds some of another one's layers.

    Weights are copied byte by byte under their new names, shard by shard, a megabyte in memory at a time; tokenizer
    and other files as they are. torch is not needed.

    Args:
        source: The teacher's model directory.
        layer_map: For each layer of the student, the teacher's.
        out: The directory to be; it appears whole or not at all.
        record: What made it, for the manifest: ``command``, ``config``, ``seed``.
        name: The teacher's, as a reader knows it; by default that of its directory.
        overwrite: Replace an existing directory, as the last step.
        progress: Told the number of bytes written, step by step.

    Returns:
        The manifest that was written. Of a source that was trimmed before, ``kept_ids`` are passed on;
        ``kept_ids_of`` says of which model they are ids.

    Raises:
        InputError: The source is damaged or of a kind that no student can be cut out of, the map does not fit it, or
            the output may not be written.
        StorageError: The disk refused.
    """
    check_apart(out, source)
    config = read_json(source, "config.json")
    assert config is not None
    checkpoint = open_checkpoint(source)
    with naming(source):
        plan = plan_layers(config, checkpoint.tensors, layer_map)
    before = read_manifest(source) or {}
    with atomic_directory(out, overwrite=overwrite) as building:
        _write_weights(checkpoint, plan, building, progress)
        _write_json(building / "config.json", plan.config)
        copied = sorted({*copied_files(source), *stale_files(source), *_present(source)})
        for each in copied:
            (building / each).parent.mkdir(parents=True, exist_ok=True)
            copy_file(safe_file(source, each), building / each)
        manifest = {
            "tool": {"name": "polycompress", "version": polycompress.__version__},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "seed": None,
            **record,
            "source": _source(source, name or source.resolve().name, config, checkpoint),
            "student": {
                "layers": list(layer_map.layers),
                "teacher_layers": layer_map.teacher_layers,
                "dropped_tensors": len(plan.dropped),
            },
            "sizes": _sizes(checkpoint, plan, layer_map),
            "copied": copied,
            "notes": list(plan.notes),
            **_passed_on(before),
        }
        write_manifest(building, manifest)
        (building / "README.md").write_text(render_student_card(manifest), encoding="utf-8")
    return manifest


def _write_weights(
    checkpoint: Checkpoint, plan: LayerPlan, building: Path, progress: Progress | None
) -> None:
    """Write each file of the checkpoint anew; one that loses all its tensors is left out."""
    weight_map: dict[str, str] = {}
    for file in checkpoint.files:
        kept = {
            new: checkpoint.tensors[old]
            for new, old in plan.renamed.items()
            if checkpoint.tensors[old].file == file
        }
        if not kept:
            continue
        weight_map |= dict.fromkeys(kept, file)
        tensors = {
            new: (info.dtype, info.shape, _blocks(checkpoint, info, progress)) for new, info in kept.items()
        }
        write_tensors(building / file, tensors, checkpoint.metadata[file])
    if checkpoint.index is not None:
        infos = [checkpoint.tensors[old] for old in plan.renamed.values()]
        metadata = {**checkpoint.index.get("metadata", {}), "total_size": sum(info.nbytes for info in infos)}
        if "total_parameters" in metadata:
            metadata["total_parameters"] = sum(math.prod(info.shape) for info in infos)
        index = {**checkpoint.index, "metadata": metadata, "weight_map": dict(sorted(weight_map.items()))}
        _write_json(building / INDEX_FILE, index)


def _blocks(checkpoint: Checkpoint, info: TensorInfo, progress: Progress | None) -> Iterator[memoryview]:
    """The bytes of one tensor."""
    path = safe_file(checkpoint.root, info.file)
    buffer = memoryview(bytearray(min(_BLOCK_BYTES, info.nbytes)))
    with reading(path) as descriptor:
        for begin in range(info.begin, info.end, _BLOCK_BYTES):
            block = buffer[: min(_BLOCK_BYTES, info.end - begin)]
            read_into(descriptor, block, begin, path)
            yield block
            if progress is not None:
                progress(len(block))


def _present(source: Path) -> list[str]:
    return [each for each in _TOKENIZER if safe_file(source, each).is_file()]


def _source(source: Path, name: str, config: Mapping[str, Any], checkpoint: Checkpoint) -> dict[str, Any]:
    read = [
        "config.json",
        *checkpoint.files,
        *(["tokenizer.json"] if (source / "tokenizer.json").exists() else []),
    ]
    return {
        "spec": str(source),
        "name": name,
        "model_type": config.get("model_type"),
        "architectures": architectures(config) or None,
        "license": source_licence(source),
        "files": {each: file_sha256(source, each) for each in read},
    }


def _sizes(checkpoint: Checkpoint, plan: LayerPlan, layer_map: LayerMap) -> dict[str, dict[str, int]]:
    kept = [checkpoint.tensors[old] for old in plan.renamed.values()]
    found = {"before": list(checkpoint.tensors.values()), "after": kept}
    layers = {"before": layer_map.teacher_layers, "after": len(layer_map.layers)}
    return {
        when: {
            "parameters": sum(math.prod(info.shape) for info in infos),
            "bytes": sum(info.nbytes for info in infos),
            "layers": layers[when],
        }
        for when, infos in found.items()
    }


def _passed_on(before: Mapping[str, Any]) -> dict[str, Any]:
    passed = {field: before[field] for field in _PASSED_ON if field in before}
    if "kept_ids" in passed:
        origin = before.get("kept_ids_of") or before.get("source", {}).get("name")
        passed["kept_ids_of"] = origin
    return passed


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    # Half a surrogate pair cannot be UTF-8, but its escape is what JSON would have written.
    path.write_bytes(text.encode("utf-8", "backslashreplace"))
