"""Write a fine-tuned model: weights with the task's head, tokenizer as it was, manifest and card."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polycompress
from polycompress.modeldir.tuning_card import render_tuning_card
from polycompress.pipelines.tuning.inputs import FinetuneInputs
from polycompress.pipelines.tuning.trained_writing import as_saved, write_trained, writing_notes
from polycompress.training.devices import Devices
from polycompress.training.optimisers import SplitAdamW
from polycompress.training.run_files import FINAL
from polycompress.training.task_model import AUTO_CLASSES, HeadedModel


def write_tuned(
    inputs: FinetuneInputs,
    loaded: HeadedModel,
    optimiser: SplitAdamW,
    out: Path,
    *,
    devices: Devices,
    record: Mapping[str, Any],
    settings: Mapping[str, Any],
    seed: int,
    figures: Mapping[str, Any],
) -> dict[str, Any]:
    """Write ``final/``: a model directory that loads with plain transformers; all processes have to call it.

    Weights have the checkpoint's own type, and the tokenizer is the source's, byte for byte.

    Returns:
        The manifest.

    Raises:
        StorageError: The disk refused.
    """
    model = loaded.model
    weights = as_saved(optimiser.exported_state(model), model, loaded.dtype)
    task, data = inputs.task, inputs.request.data
    manifest = {
        **record,
        "tool": {"name": "polycompress", "version": polycompress.__version__},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": dict(settings),
        "seed": seed,
        "source": inputs.model.record(),
        "architectures": [type(model).__name__],
        "finetuning": {
            "task": task.id,
            "name": task.name,
            "kind": task.kind,
            "metric": task.metric,
            "labels": list(task.labels),
            "train_languages": [language.code for language in inputs.request.languages],
            "examples": inputs.counts(),
            "limit": inputs.request.limit,
            "data": "hub" if data is None else "local",
            "protocol": task.protocol_at(data),
            "train_from": task.train_from_at(data),
            "licence": task.licence,
            "citation": task.citation,
            "loader": AUTO_CLASSES[loaded.head],
            "seed": seed,
            **figures,
        },
        "fresh_parameters": list(loaded.fresh),
        "unused_tensors": list(loaded.unused),
        "sizes": {
            "after": {
                "parameters": sum(parameter.numel() for parameter in model.parameters()),
                "vocab": int(model.get_input_embeddings().num_embeddings),
            }
        },
        "notes": [
            *writing_notes(inputs.model, loaded.unused, loaded.dtype, "a model with this head"),
            *inputs.notes,
        ],
    }
    if devices.is_main:
        write_trained(out / FINAL, model, weights, loaded.dtype, inputs.model, manifest, render_tuning_card)
    devices.wait()
    return manifest
