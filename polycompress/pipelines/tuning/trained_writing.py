"""Write what was trained as a model directory: weights, tokenizer as it was, manifest and card, or nothing at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from polycompress.modeldir.atomic import atomic_directory
from polycompress.modeldir.directory import copied_files, safe_file
from polycompress.modeldir.manifest import write_manifest
from polycompress.modeldir.rawio import copy_file
from polycompress.pipelines.tuning.source_model import SourceModel
from polycompress.training.devices import whole
from polycompress.training.model import quiet_transformers


def write_trained(
    out: Path,
    model: Any,
    weights: Mapping[str, Tensor],
    dtype: torch.dtype,
    source: SourceModel,
    manifest: dict[str, Any],
    render: Callable[[Mapping[str, Any]], str],
) -> None:
    """Write a model directory that loads with plain transformers.

    Args:
        out: The directory.
        model: Of transformers; its configuration is written.
        weights: See ``as_saved``.
        dtype: Of the weights.
        source: What it was made from: the tokenizer is copied byte for byte.
        manifest: The facts; the names of copied files are added.
        render: Makes the card of them.

    Raises:
        StorageError: The disk refused.
    """
    with atomic_directory(out) as building:
        with quiet_transformers():
            model.save_pretrained(building, state_dict=dict(weights))
        _name_type(building / "config.json", dtype)
        (building / "tokenizer.json").write_bytes(source.tokenizer_json.encode("utf-8"))
        text = json.dumps(source.tokenizer_config, indent=2, ensure_ascii=False) + "\n"
        (building / "tokenizer_config.json").write_bytes(text.encode("utf-8", "backslashreplace"))
        manifest["copied"] = copied_files(source.path)
        for name in manifest["copied"]:
            (building / name).parent.mkdir(parents=True, exist_ok=True)
            copy_file(safe_file(source.path, name), building / name)
        write_manifest(building, manifest)
        (building / "README.md").write_text(render(manifest), encoding="utf-8")


def as_saved(state: Mapping[str, Tensor], model: Any, dtype: torch.dtype) -> dict[str, Tensor]:
    """Whole tensors on the CPU in the checkpoint's type, but for what the model keeps in fp32, such as routers.

    Tied names go on sharing one.
    """
    wide = set(getattr(model, "_keep_in_fp32_modules_strict", None) or ())
    owners = {name: id(parameter) for name, parameter in model.named_parameters(remove_duplicate=False)}
    known: dict[int, Tensor] = {}
    weights = {}
    for name, tensor in state.items():
        owner = owners.get(name, id(tensor))
        if owner not in known:
            plain = whole(tensor.detach()).cpu()
            narrow = plain.is_floating_point() and wide.isdisjoint(name.split("."))
            known[owner] = plain.to(dtype) if narrow else plain
        weights[name] = known[owner]
    return weights


def writing_notes(
    source: SourceModel, unused: Sequence[str], dtype: torch.dtype, what: str = "a language model"
) -> list[str]:
    """What a reader of the card has to know besides.

    Args:
        source: What it was made from.
        unused: Tensors of the source that found no place.
        dtype: Of the source's weights.
        what: The model has become.
    """
    notes = list(source.notes)
    if unused:
        shown = ", ".join(unused[:4]) + (", ..." if len(unused) > 4 else "")
        notes.append(f"tensors of the source that {what} has no place for were left out: {shown}")
    if dtype != torch.float32:
        kind = str(dtype).removeprefix("torch.")
        notes.append(f"trained in fp32 and rounded to {kind}, the type of the source's weights")
    return notes


def _name_type(path: Path, dtype: torch.dtype) -> None:
    """Let the configuration name the weights' type: the library wrote that of the model in memory."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config["dtype"] = str(dtype).removeprefix("torch.")
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
