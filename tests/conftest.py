"""What every test may use: the data pack, bounded threads, hypothesis profiles."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ["POLYCOMPRESS_CONFIG"] = os.devnull  # nobody's own defaults

# What a shell starts in the background may be told to ignore interrupts, and so would every process of a test.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent

# Timings on a shared machine say nothing, so there is no deadline; in CI a failure must come back the same.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("default", max_examples=50, **_COMMON)
settings.register_profile("ci", max_examples=50, derandomize=True, print_blob=True, **_COMMON)
settings.register_profile("thorough", max_examples=1000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    """Undo what the command line sets for its process, so that later tests can read what is logged."""
    yield
    logger = logging.getLogger("polycompress")
    for handler in logger.handlers:
        handler.close()
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The data pack: POLYCOMPRESS_DATA, or ``../shared/data`` beside the repository."""
    named = os.environ.get("POLYCOMPRESS_DATA")
    path = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    if not (path / "manifest.tsv").is_file():
        pytest.skip(
            f"no data pack: {path} has no manifest.tsv "
            f"(set POLYCOMPRESS_DATA, or put the pack at ../shared/data beside the repository)"
        )
    return path
