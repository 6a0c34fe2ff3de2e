"""Write a trained language model: weights, tokenizer as it was, manifest and card, or nothing at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import polycompress
from polycompress.modeldir.atomic import atomic_directory
from polycompress.modeldir.directory import copied_files, safe_file
from polycompress.modeldir.manifest import write_manifest
from polycompress.modeldir.rawio import copy_file
from polycompress.modeldir.training_card import render_training_card
from polycompress.pipelines.loading import architectures
from polycompress.pipelines.mlm import MlmInputs
from polycompress.pipelines.trim_writing import source_licence
from polycompress.training.devices import Devices, whole
from polycompress.training.model import LoadedModel, quiet_transformers
from polycompress.training.optimisers import SplitAdamW
from polycompress.training.run_files import FINAL


def write_final(
    inputs: MlmInputs,
    loaded: LoadedModel,
    optimiser: SplitAdamW,
    out: Path,
    *,
    devices: Devices,
    record: Mapping[str, Any],
    settings: Mapping[str, Any],
    figures: Mapping[str, Any],
) -> dict[str, Any]:
    """Write ``final/``: a model directory that loads with plain transformers; all processes have to call it.

    Weights have the checkpoint's own type, and the tokenizer is the source's, byte for byte.

    Returns:
        The manifest.

    Raises:
        StorageError: The disk refused.
    """
    weights = _as_saved(optimiser.exported_state(loaded.model), loaded.model, loaded.dtype)
    notes = _notes(inputs, loaded)
    manifest = {
        **record,
        "tool": {"name": "polycompress", "version": polycompress.__version__},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": dict(settings),
        "seed": settings["training"]["seed"],
        "source": {
            **record["source"],
            "model_type": inputs.config.get("model_type"),
            "architectures": architectures(inputs.config) or None,
            "license": source_licence(inputs.source.path),
            "files": dict(inputs.hashes),
        },
        "architectures": [type(loaded.model).__name__],
        "training": dict(figures),
        "fresh_parameters": list(loaded.fresh),
        "unused_tensors": list(loaded.unused),
        "sizes": {
            "after": {
                "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
                "vocab": int(loaded.model.get_input_embeddings().num_embeddings),
            }
        },
        "notes": notes,
    }
    if devices.is_main:
        with atomic_directory(out / FINAL) as building:
            with quiet_transformers():
                loaded.model.save_pretrained(building, state_dict=weights)
            _name_type(building / "config.json", loaded.dtype)
            (building / "tokenizer.json").write_bytes(inputs.tokenizer_json.encode("utf-8"))
            text = json.dumps(inputs.tokenizer_config, indent=2, ensure_ascii=False) + "\n"
            (building / "tokenizer_config.json").write_bytes(text.encode("utf-8", "backslashreplace"))
            manifest["copied"] = copied_files(inputs.source.path)
            for name in manifest["copied"]:
                (building / name).parent.mkdir(parents=True, exist_ok=True)
                copy_file(safe_file(inputs.source.path, name), building / name)
            write_manifest(building, manifest)
            (building / "README.md").write_text(render_training_card(manifest), encoding="utf-8")
    devices.wait()
    return manifest


def _as_saved(state: Mapping[str, Tensor], model: Any, dtype: torch.dtype) -> dict[str, Tensor]:
    """Whole tensors on the CPU in the checkpoint's type; tied names go on sharing one."""
    owners = {name: id(parameter) for name, parameter in model.named_parameters(remove_duplicate=False)}
    known: dict[int, Tensor] = {}
    weights = {}
    for name, tensor in state.items():
        owner = owners.get(name, id(tensor))
        if owner not in known:
            plain = whole(tensor.detach()).cpu()
            known[owner] = plain.to(dtype) if plain.is_floating_point() else plain
        weights[name] = known[owner]
    return weights


def _name_type(path: Path, dtype: torch.dtype) -> None:
    """Let the configuration name the weights' type: the library wrote that of the model in memory."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config["dtype"] = str(dtype).removeprefix("torch.")
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _notes(inputs: MlmInputs, loaded: LoadedModel) -> list[str]:
    notes = list(inputs.notes)
    if loaded.unused:
        shown = ", ".join(loaded.unused[:4]) + (", ..." if len(loaded.unused) > 4 else "")
        notes.append(f"tensors of the source that a language model has no place for were left out: {shown}")
    if loaded.dtype != torch.float32:
        kind = str(loaded.dtype).removeprefix("torch.")
        notes.append(f"trained in fp32 and rounded to {kind}, the type of the source's weights")
    return notes
