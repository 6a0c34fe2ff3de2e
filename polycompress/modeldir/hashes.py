"""SHA-256 of large files, remembered in the user's cache for as long as a file stays as it was."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Final

from polycompress.modeldir.cache import cache_directory
from polycompress.modeldir.rawio import sha256_file

REMEMBERED_BYTES: Final = 1 << 22
"""Smaller files are read again each time."""
SETTLED_NS: Final = 2_000_000_000
"""A file changed later than this before it was hashed may change again within one tick of its clock."""


def remembered_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, without reading it where an earlier run did and nothing touched it since.

    A file is taken to be the same while its device, inode, size and times of change stay the same. The system sets
    the inode's time of change itself; no program can put it back.

    Raises:
        InputError: The file is missing, unreadable or not a regular file.
    """
    before = _state(path)
    note = _note(path) if before is not None and before[2] >= REMEMBERED_BYTES else None
    if note is None:
        return sha256_file(path)
    known = _read(note)
    if known.get("state") == before and isinstance(found := known.get("sha256"), str) and len(found) == 64:
        return found
    started = time.time_ns()
    digest = sha256_file(path)
    if before is not None and _state(path) == before and max(before[3:]) < started - SETTLED_NS:
        with contextlib.suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            temporary = note.with_name(f"{note.name}.{os.getpid()}")
            temporary.write_text(json.dumps({"state": before, "sha256": digest}), encoding="utf-8")
            temporary.replace(note)
    return digest


def _state(path: Path) -> list[int] | None:
    """Device, inode, size, and times of change; None where there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _note(path: Path) -> Path | None:
    root = cache_directory()
    if root is None:
        return None
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    return root / "file-hashes" / f"{name}.json"


def _read(note: Path) -> dict[str, object]:
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
