"""A run's directory belongs to one process at a time."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from polycompress.errors import InputError

_HELD: Final[dict[Path, int]] = {}


def claim(out: Path) -> None:
    """Keep other processes out of a run's directory until `release`, or until this process ends, however it ends.

    A directory that this process holds already may be claimed again. Where the file system has no locks, nothing
    happens.

    Args:
        out: The directory, which exists.

    Raises:
        InputError: Another process is at work in it.
    """
    place = out.resolve()
    if place in _HELD:
        return
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise InputError(
            f"{out}: another process is at work in it. Wait for it, or choose another directory."
        ) from error
    except OSError:
        os.close(descriptor)
        return
    _HELD[place] = descriptor


def release(out: Path) -> None:
    """Let other processes at a directory again; one that was never claimed stays as it is."""
    descriptor = _HELD.pop(out.resolve(), None)
    if descriptor is not None:
        with suppress(OSError):
            os.close(descriptor)
