"""Load a model directory with transformers, without its reports: what they would say is said by us."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers

from polycompress.errors import InputError
from polycompress.modeldir.directory import read_json
from polycompress.own_models import register_for


def load_pretrained(loader: Any, path: Path, dtype: torch.dtype) -> tuple[Any, frozenset[str]]:
    """Load a model; only safetensors are read, and no code of the directory is run.

    Args:
        loader: A class of transformers, or one of its ``Auto`` classes.
        path: The directory.
        dtype: Of the weights.

    Returns:
        The model, and the names of the parameters that the checkpoint lacks.

    Raises:
        InputError: transformers refuses it.
    """
    register_for(read_json(path, "config.json") or {})
    with quiet_transformers():
        try:
            model, info = loader.from_pretrained(
                path,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                dtype=dtype,
            )
        except MemoryError:
            raise
        except Exception as error:  # a wrong value in config.json may raise anything
            reason = str(error) or type(error).__name__
            if "ignore_mismatched_sizes" in reason:
                reason = "config.json says other sizes, or another number of labels, than the weights have. Restore it"
            raise InputError(f"{path}: transformers cannot load this model: {reason}") from error
    return model, frozenset(info["missing_keys"])


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No bars, no reports."""
    level = transformers.logging.get_verbosity()
    bars = importlib.import_module("transformers.utils.logging")
    shown = bars.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        if shown:
            bars.enable_progress_bar()
