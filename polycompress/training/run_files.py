"""What lies in a run's directory: ``config.json``, ``metrics.jsonl``, ``snapshots/`` and, at the end, ``final/``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.modeldir.paths import read_json

CONFIG: Final = "config.json"
FINAL: Final = "final"
SNAPSHOTS: Final = "snapshots"


def check_run(out: Path, *, resume: bool) -> None:
    """Refuse a directory that a run must not be started or taken up in, before any work is done.

    Raises:
        InputError: It holds something already and is not to be resumed, or is no directory or no run.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise InputError(f"{out}: is a file. Give a directory for the run.")
    names = {entry.name for entry in out.iterdir() if not entry.name.startswith(".")}
    if names and not resume:
        raise InputError(
            f"{out}: already exists. Go on with the run in it with --resume, or choose another directory."
        )
    if names and CONFIG not in names:
        raise InputError(
            f"{out}: has no {CONFIG}, so it is no run that could be resumed. Choose another directory."
        )


def read_run(out: Path) -> dict[str, Any]:
    """The ``config.json`` of a run.

    Raises:
        InputError: There is none, or it is none of a run.
    """
    if not out.is_dir():
        raise InputError(f"{out}: no such directory. Give the directory of a run, as --out named it.")
    config = read_json(out, CONFIG)
    if not isinstance(config, dict) or not isinstance(config.get("settings"), dict):
        raise InputError(f"{out / CONFIG}: is not that of a training run. Give the directory of a run.")
    return config
