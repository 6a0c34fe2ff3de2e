"""Write a trained language model: weights, tokenizer as it was, manifest and card, or nothing at all."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polycompress
from polycompress.modeldir.training_card import render_training_card
from polycompress.pipelines.mlm import MlmInputs
from polycompress.pipelines.tuning.trained_writing import as_saved, write_trained, writing_notes
from polycompress.training.devices import Devices
from polycompress.training.model import LoadedModel
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
    weights = as_saved(optimiser.exported_state(loaded.model), loaded.model, loaded.dtype)
    manifest = {
        **record,
        "tool": {"name": "polycompress", "version": polycompress.__version__},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": dict(settings),
        "seed": settings["training"]["seed"],
        "source": inputs.model.record(),
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
        "notes": writing_notes(inputs.model, loaded.unused, loaded.dtype),
    }
    if devices.is_main:
        write_trained(
            out / FINAL, loaded.model, weights, loaded.dtype, inputs.model, manifest, render_training_card
        )
    devices.wait()
    return manifest
