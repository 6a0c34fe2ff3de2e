"""What the two directions share: configuration, tokenizer, manifest and card of a rewritten model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import polycompress
from polycompress.embeddings.bases import Tell
from polycompress.errors import InputError
from polycompress.modeldir.atomic import atomic_directory
from polycompress.modeldir.axes import parameter_parts
from polycompress.modeldir.axes_table import base_type, factorised_type
from polycompress.modeldir.convert import ensure_tokenizer_json
from polycompress.modeldir.directory import read_bytes, read_json
from polycompress.modeldir.manifest import read_manifest, write_manifest
from polycompress.modeldir.rewriting import Entry, copy_beside, write_exchanged
from polycompress.modeldir.tensors import read_tensor
from polycompress.modeldir.tokenizer_config import remap_tokenizer_config
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.pipelines.trimming.loading import OpenModel, architectures
from polycompress.pipelines.trimming.writing import hash_source, source_licence
from polycompress.vocab.document import MAX_DOCUMENT_BYTES

CLASS_PREFIX = "Factorised"
"""Of the classes that ``polycompress.auto`` makes."""
_KEPT = ("finetuning", "languages", "layers", "student")


def factorised_config(config: Mapping[str, Any], rank: int, more: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of the same model with a factorised table: every field kept."""
    names = architectures(config)
    return {
        **{key: value for key, value in config.items() if key != "auto_map"},
        **more,
        **({"architectures": [CLASS_PREFIX + name for name in names]} if names else {}),
        "model_type": factorised_type(str(config["model_type"])),
        "factorised_rank": rank,
    }


def plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of the same model with a plain table."""
    names = architectures(config)
    return {
        **{key: value for key, value in config.items() if key not in ("auto_map", "factorised_rank")},
        **({"architectures": [name.removeprefix(CLASS_PREFIX) for name in names]} if names else {}),
        "model_type": base_type(str(config["model_type"])),
    }


def write_rewritten(
    opened: OpenModel,
    out: Path,
    exchanged: Mapping[str, Mapping[str, Entry]],
    config: Mapping[str, Any],
    manifest: dict[str, Any],
    render: Callable[[Mapping[str, Any]], str],
    *,
    overwrite: bool,
    progress: Progress | None,
) -> dict[str, Any]:
    """Write a model directory whose weights are partly others and whose tokenizer is the same, or nothing at all.

    Args:
        opened: The source.
        out: The directory.
        exchanged: See ``write_exchanged``.
        config: Its ``config.json``.
        manifest: The facts, sizes among them; bytes after, copied files and notes on the tokenizer are added.
        render: Makes the card of them.
        overwrite: Whether an existing directory is replaced.
        progress: Called as work goes on.

    Returns:
        The manifest.

    Raises:
        StorageError: It could not be written; nothing was left behind.
    """
    root = opened.source.path
    with atomic_directory(out, overwrite=overwrite) as building:
        total = manifest["sizes"]["after"]["bytes"]
        tell = (lambda amount: progress("writing weights", amount, total)) if progress is not None else None
        report = write_exchanged(opened.checkpoint, building, exchanged, progress=tell)
        _write_json(building / "config.json", config)
        path = ensure_tokenizer_json(root)
        (building / "tokenizer.json").write_bytes(read_bytes(root, path.name, max_bytes=MAX_DOCUMENT_BYTES))
        tokenizer_config, notes = remap_tokenizer_config(
            read_json(root, "tokenizer_config.json", required=False),
            opened.vocabulary.document,
            model_config=config,
            special_tokens_map=read_json(root, "special_tokens_map.json", required=False),
        )
        _write_json(building / "tokenizer_config.json", tokenizer_config)
        manifest["copied"] = copy_beside(root, building)
        manifest["notes"] = [*manifest.get("notes", ()), *notes]
        manifest["sizes"]["after"]["bytes"] = report.nbytes
        write_manifest(building, manifest)
        (building / "README.md").write_text(render(manifest), encoding="utf-8")
    return manifest


def base_manifest(
    opened: OpenModel,
    config: Mapping[str, Any],
    command: Sequence[str],
    settings: Mapping[str, Any],
    progress: Progress | None,
) -> dict[str, Any]:
    """The facts that both directions record."""
    source = opened.source
    return {
        "tool": {"name": "polycompress", "version": polycompress.__version__},
        "command": list(command),
        "config": dict(settings),
        "seed": None,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": {
            "spec": source.spec,
            "name": source.name,
            "revision": source.revision,
            "model_type": opened.config.get("model_type"),
            "architectures": architectures(opened.config) or None,
            "license": source_licence(source.path),
            "files": hash_source(opened, progress),
        },
        "architectures": architectures(config),
        **_known_before(source.path),
    }


def model_size(opened: OpenModel, copies: Sequence[str] = ()) -> dict[str, int]:
    """Tokens, parameters and bytes of a model.

    Args:
        opened: The model.
        copies: Tensors that repeat the table; their parameters are not counted, nor those of repeated biases.
    """
    biases = {name: read_tensor(opened.checkpoint, name) for name in opened.axes.biases}
    one = next(iter(biases), None)
    repeated = [name for name in biases if name != one and np.array_equal(biases[name], biases[str(one)])]
    left_out = (*copies, *repeated)
    parts = parameter_parts(opened.config, opened.checkpoint.tensors, opened.axes, copies=left_out)
    return {
        "vocab": opened.vocabulary.size,
        "parameters": sum(parts.values()),
        "embedding_parameters": parts["embeddings"] + parts.get("primitives", 0),
        "bytes": sum(info.nbytes for info in opened.checkpoint.tensors.values()),
    }


def rows_told(progress: Progress | None, label: str, total: int) -> Tell | None:
    """A callback that is told rows, for a bar."""
    return None if progress is None else lambda amount: progress(label, amount, total)


def _known_before(root: Path) -> dict[str, Any]:
    """What the source's own manifest says that is true of the result as well."""
    try:
        found = read_manifest(root) or {}
    except InputError:
        return {}
    return {key: found[key] for key in _KEPT if isinstance(found.get(key), dict | list)}


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    path.write_bytes(text.encode("utf-8", "backslashreplace"))
