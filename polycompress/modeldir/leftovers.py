"""Names for work in progress, and sweeping what a killed process left of it.

Work in progress lies beside its destination under a hidden name that tells who is at it:
`.NAME.polycompress-MACHINE-PID-START-RANDOM`, with `.old` behind it for an output that was put aside. MACHINE
stands for one boot of one machine and one space of process numbers, START for the moment the process began,
so that a number used again by another process is not taken for the one that died. Work of another machine (a
shared disk, another container) is left alone unless its lock is free and it has not been touched for an hour.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import platform
import re
import secrets
import shutil
import time
from functools import cache
from pathlib import Path
from typing import Final

_SWEEPERS = 100  # times that other sweepers may get in the way

logger = logging.getLogger(__name__)

MAX_NAME_BYTES: Final = 180
"""Longest name of an output, so that the hidden name fits into the 255 bytes of a file name."""

FOREIGN_AGE_S: Final = 3600.0
"""Seconds that another machine's work must have been untouched before it counts as left behind."""

_PATTERN = re.compile(
    r"\.(?P<name>.+)\.polycompress-(?P<machine>[0-9a-f]{8})-(?P<pid>\d{1,9})-(?P<start>\d{1,19})"
    r"-[0-9a-f]{8}(?P<old>\.old)?",
    re.DOTALL,
)


def working_name(name: str) -> str:
    """A hidden name for work in progress by this process on an output called `name`."""
    pid = os.getpid()
    return f".{name}.polycompress-{_machine()}-{pid}-{_start(pid) or 0}-{secrets.token_hex(4)}"


def sweep(folder: Path) -> None:
    """Remove what dead processes left in a folder; first put back an output that one of them had put aside.

    Whatever cannot be removed is logged and left: sweeping never fails a run.
    """
    try:
        entries = [(path, match) for path in folder.iterdir() if (match := _PATTERN.fullmatch(path.name))]
    except OSError:
        return
    entries.sort(key=lambda entry: entry[1]["old"] is None)  # outputs put aside come first
    for path, match in entries:
        if not _left_behind(path, match):
            continue
        destination = folder / match["name"]
        try:
            if match["old"] and not os.path.lexists(destination):
                path.rename(destination)
                logger.warning("%s: put back after a run that was killed while replacing it", destination)
            else:
                remove(path)
                logger.info("%s: removed, left by a run that was killed", path)
        except OSError as error:
            logger.debug("%s: left behind and not removed (%s)", path, error)


def remove(path: Path) -> None:
    """Remove a file or a whole directory; never through a link.

    Raises:
        OSError: Something could not be removed; what could be, is gone.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for _ in range(_SWEEPERS):
        try:
            shutil.rmtree(path)
        except FileNotFoundError:  # another sweeper was faster with something in it
            continue
        return


def hold(path: Path) -> int | None:
    """Lock work in progress for as long as this process lives.

    Returns:
        A descriptor to close afterwards, or None where the file system has no locks.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _left_behind(path: Path, match: re.Match[str]) -> bool:
    pid, start = int(match["pid"]), int(match["start"])
    if match["machine"] == _machine():
        return not _alive(pid, start)
    try:
        if time.time() - path.lstat().st_mtime < FOREIGN_AGE_S:
            return False
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _alive(pid: int, start: int) -> bool:
    if start:
        return _start(pid) == start
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _start(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None without such a process, or /proc to ask."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The second field is the program's name in brackets, which may hold anything; the start is the 22nd.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


@cache
def _machine() -> str:
    """Eight digits for this boot of this machine and this space of process numbers."""
    parts = [platform.node()]
    for path in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        try:
            parts.append(str(path.readlink()) if path.is_symlink() else path.read_text().strip())
        except OSError:
            parts.append("")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]
