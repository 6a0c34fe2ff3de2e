"""Keep transformers from talking while a model is loaded."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager

import transformers


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No bars, no reports: what they would say is said by us."""
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
