"""Find the files that a pattern names."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from polycompress.errors import InputError


def find_files(pattern: str, option: str = "--corpus") -> tuple[Path, ...]:
    """The files that a pattern names, sorted, each once.

    Args:
        pattern: A file, a directory (all regular files beneath it, hidden ones and links left out) or a
            glob with ``*``, ``?``, ``[...]`` and ``**``.
        option: What the user wrote it after, for messages.

    Raises:
        InputError: There is none, or all are empty.
    """
    path = Path(pattern).expanduser()
    if exists(path):
        named = [path]
    else:
        matches = glob.glob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        # "**" goes round a loop of links until the system has enough: each file counts once, by its real path.
        # For a directory that is not there it gives that directory.
        real = {
            os.path.realpath(match): Path(match)
            for match in sorted(matches, reverse=True)
            if os.path.lexists(match)
        }
        named = sorted(real.values()) if "**" in pattern else sorted(map(Path, matches))
    if not named:
        raise InputError(f"{option} {pattern!r}: no file matches it (looked from {Path.cwd()}).")
    files = dict.fromkeys(
        file for entry in named for file in (_beneath(entry) if entry.is_dir() else [entry])
    )
    if not files:
        raise InputError(f"{option} {pattern!r}: there is no file in {names(named)}.")
    if all(file.is_file() and file.stat().st_size == 0 for file in files):
        raise InputError(
            f"{option} {pattern!r}: {names(tuple(files))}: empty. Give a file with one text a line."
        )
    return tuple(files)


def describe(files: Iterable[Path]) -> list[dict[str, str | int]]:
    """Name and size in bytes of files, without reading them."""
    return [{"name": file.name, "bytes": file.stat().st_size} for file in files]


def exists(path: Path) -> bool:
    """Whether a path leads to something, names that no file system takes included."""
    try:
        return path.exists()
    except OSError:  # a name too long, a directory that may not be entered
        return False


def names(files: Sequence[Path]) -> str:
    """The first of some files, and how many more."""
    return str(files[0]) + (f" and {len(files) - 1} more" if len(files) > 1 else "") if files else "no files"


def _beneath(directory: Path) -> list[Path]:
    found: list[Path] = []
    for root, directories, files in os.walk(directory):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        paths = (Path(root, name) for name in sorted(files) if not name.startswith("."))
        found += [path for path in paths if path.is_file() and not path.is_symlink()]
    return sorted(found)
