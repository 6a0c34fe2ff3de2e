"""Begin a run in its directory, or find the snapshot to go on from."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from polycompress.modeldir.atomic import atomic_file, storage_error
from polycompress.training.claims import claim
from polycompress.training.run_files import CONFIG, FINAL, SNAPSHOTS, check_run, read_run
from polycompress.training.snapshots import Snapshot, check_identity, newest_snapshot, refuse_difference

logger = logging.getLogger(__name__)


def open_run(
    out: Path, record: Mapping[str, Any], identity: Mapping[str, Any], *, resume: bool
) -> Snapshot | None:
    """Begin a run, or find where one has to be taken up; other processes are kept out of it, see ``claim``.

    Args:
        out: The run's directory; made if missing.
        record: What to write about a new run beside its identity: command, tool.
        identity: What decides the result, as nested plain values.
        resume: Whether it may be there already.

    Returns:
        The newest whole snapshot, or None to begin at the beginning.

    Raises:
        InputError: See ``check_run``; or another process is at work in it.
        SnapshotMismatchError: It is of another model or configuration.
        StorageError: The disk refused.
    """
    check_run(out, resume=resume)
    try:
        out.mkdir(parents=True, exist_ok=True)
        claim(out)
    except OSError as error:
        raise storage_error(error, out) from error
    path = out / CONFIG
    if not path.exists():
        if resume:
            logger.warning("%s: there is no run yet, so it begins at the beginning", out)
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


def is_finished(out: Path, identity: Mapping[str, Any], *also: str) -> bool:
    """Whether a run has ended, so that nothing is left to do; it is said, then.

    Args:
        out: The run's directory.
        identity: What decides the result of the run that is asked for.
        also: Files beside ``final/`` that a finished run has.

    Raises:
        SnapshotMismatchError: What has ended there is a run of another model or configuration.
    """
    if not (out / FINAL).is_dir() or not all((out / name).is_file() for name in also):
        return False
    refuse_difference(out, read_run(out)["settings"], identity)
    logger.warning("%s: the run is finished; nothing is left to do", out)
    return True
