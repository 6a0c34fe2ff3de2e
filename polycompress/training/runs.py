"""Begin a run in its directory, or find the snapshot to go on from."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polycompress.errors import InputError
from polycompress.modeldir.atomic import atomic_file, storage_error
from polycompress.modeldir.leftovers import remove
from polycompress.training.claims import claim, release
from polycompress.training.run_files import CONFIG, FINAL, SNAPSHOTS, check_run, read_run
from polycompress.training.snapshots import (
    Snapshot,
    check_identity,
    find_snapshot,
    newest_snapshot,
    refuse_difference,
)

if TYPE_CHECKING:
    from polycompress.training.devices import Devices

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


@contextmanager
def begun_run(
    out: Path, record: Mapping[str, Any], identity: Mapping[str, Any], devices: Devices, *, resume: bool
) -> Iterator[Snapshot | None]:
    """Begin a run, or find the snapshot that all processes go on from; see ``open_run``.

    Where an ``InputError`` ends what is done with a run that began here, and nothing was saved of it, what it left is
    removed: the corrected command finds its directory as this one did.

    Yields:
        The newest whole snapshot, or None to begin at the beginning.
    """
    if not devices.is_main:
        (step,) = devices.total([0.0])
        yield find_snapshot(out / SNAPSHOTS, int(step)) if step >= 0 else None
        return
    before = _Before(out)
    snapshot = open_run(out, record, identity, resume=resume)
    devices.total([float(snapshot.step if snapshot is not None else -1)])
    with before.back_to():
        yield snapshot


@contextmanager
def begun_stages(
    out: Path, record: Mapping[str, Any], identity: Mapping[str, Any], devices: Devices, *, resume: bool
) -> Iterator[None]:
    """Begin a run whose stages are runs of their own, in directories below, or go on with one.

    Other processes are kept out of it until the block ends. Where the run began here, and nothing was saved of any
    stage, wrong input leaves nothing, as with ``begun_run``.

    Raises:
        InputError: See ``open_run``.
        SnapshotMismatchError: The run that is there is of another model or configuration.
        StorageError: The disk refused.
    """
    if not devices.is_main:
        yield
        return
    before = _Before(out)
    if CONFIG in before.there:
        check_run(out, resume=resume)
        refuse_difference(out, read_run(out)["settings"], identity)
        claim(out)
    else:
        open_run(out, record, identity, resume=resume)
    try:
        with before.back_to():
            yield
    finally:
        release(out)


class _Before:
    """What was at a place before a run began there."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.missing = [path for path in (out, *out.parents) if not path.exists()]
        self.there = {path.name for path in out.iterdir()} if out.is_dir() else set()

    @contextmanager
    def back_to(self) -> Iterator[None]:
        """Wrong input takes back what began in a block, unless something was saved."""
        try:
            yield
        except InputError:
            if CONFIG not in self.there and not self._is_saved():
                _take_back(self.out, self.there, self.missing)
            raise

    def _is_saved(self) -> bool:
        return any(path.is_dir() for name in (SNAPSHOTS, FINAL) for path in self.out.rglob(name))


def _take_back(out: Path, there: Set[str], missing: Sequence[Path]) -> None:
    """Remove what came into a directory, and the directories that were made for it; what cannot be removed stays."""
    try:
        for path in out.iterdir():
            if path.name not in there:
                remove(path)
        for path in missing:
            path.rmdir()
    except OSError as error:
        logger.debug("%s: what was begun is not all removed (%s)", out, error)
    finally:
        release(out)  # a directory that is made in its place is another one


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
