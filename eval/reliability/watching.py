"""What lies under a directory, before and after."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path


def snapshot(root: Path, *, but: tuple[str, ...] = ()) -> dict[str, str]:
    """Everything under a directory by relative name: its kind, and of files and links what they hold.

    Args:
        root: The directory.
        but: Relative names whose content, and whatever lies in them, is left out.
    """
    found: dict[str, str] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder) / name
            relative = path.relative_to(root).as_posix()
            if not any(relative == each or relative.startswith(f"{each}/") for each in but):
                found[relative] = _state(path)
    return found


def changes(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What is new, gone or different, in words."""
    return sorted(
        [f"new: {name}" for name in after.keys() - before.keys()]
        + [f"gone: {name}" for name in before.keys() - after.keys()]
        + [f"changed: {name}" for name in before.keys() & after.keys() if before[name] != after[name]]
    )


def _state(path: Path) -> str:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return f"link to {path.readlink()}"
    if stat.S_ISREG(status.st_mode):
        return f"file {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return f"mode {stat.S_IFMT(status.st_mode):o}"
