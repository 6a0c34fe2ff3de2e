"""A run's directory: ``config.json``, ``metrics.jsonl``, ``snapshots/`` and, at the end, ``final/``."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.modeldir.atomic import atomic_file, storage_error
from polycompress.modeldir.paths import read_json
from polycompress.training.snapshots import Snapshot, check_identity, newest_snapshot, refuse_difference

logger = logging.getLogger(__name__)

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


def open_run(
    out: Path, record: Mapping[str, Any], identity: Mapping[str, Any], *, resume: bool
) -> Snapshot | None:
    """Begin a run, or find where one has to be taken up.

    Args:
        out: The run's directory; made if missing.
        record: What to write about a new run beside its identity: command, tool.
        identity: What decides the result, as nested plain values.
        resume: Whether it may be there already.

    Returns:
        The newest whole snapshot, or None to begin at the beginning.

    Raises:
        InputError: See ``check_run``.
        SnapshotMismatchError: It is of another model or configuration.
        StorageError: The disk refused.
    """
    check_run(out, resume=resume)
    path = out / CONFIG
    if not path.exists():
        if resume:
            logger.warning("%s: there is no run yet, so it begins at the beginning", out)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, out) from error
        with atomic_file(path, "w") as file:
            json.dump({**record, "settings": identity}, file, indent=1, ensure_ascii=False)
            file.write("\n")
        return None
    snapshot = newest_snapshot(out / SNAPSHOTS)
    if snapshot is not None:
        check_identity(snapshot, identity)
        return snapshot
    refuse_difference(out, read_run(out)["settings"], identity)
    logger.warning("%s: has no whole snapshot, so the run begins at the beginning", out)
    return None


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
