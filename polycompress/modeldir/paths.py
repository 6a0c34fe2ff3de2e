"""Names and small files inside a model directory, which is untrusted input.

A name that leads out of it is refused, a link is followed only inside it or into the blobs of the hub cache
it belongs to, and every file is capped before it is parsed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.modeldir.rawio import read_into, reading

MAX_JSON_BYTES: Final = 64 << 20
"""Cap of a configuration file; the largest honest ones, indexes of many shards, have some MB."""


def safe_file(root: Path, name: str) -> Path:
    """The path of a name inside a model directory, if it stays there.

    Args:
        root: The model directory.
        name: A relative name with "/" between folders, as configuration files give it.

    Returns:
        `root / name`. The file may be missing; if it exists it is a regular file.

    Raises:
        InputError: The name, or a link that it stands for, leads out of the directory (the blobs of the hub
            cache that a snapshot belongs to count as inside), or it is not a regular file.
    """
    path = safe_path(root, name)
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is not a regular file. Put the file itself there.")
    return path


def read_bytes(root: Path, name: str, *, max_bytes: int = MAX_JSON_BYTES) -> bytes:
    """Read a whole small file of a model directory.

    Raises:
        InputError: It is missing, unreadable, outside the directory, or larger than `max_bytes`.
    """
    path = safe_file(root, name)
    with reading(path) as descriptor:
        size = os.fstat(descriptor).st_size
        if size > max_bytes:
            raise InputError(
                f"{path}: {size} bytes, over the limit of {max_bytes} for such a file. Check the file."
            )
        buffer = bytearray(size)
        read_into(descriptor, memoryview(buffer), 0, path)
    return bytes(buffer)


def read_json(
    root: Path, name: str, *, required: bool = True, max_bytes: int = MAX_JSON_BYTES
) -> dict[str, Any] | None:
    """Read a JSON object of a model directory.

    Args:
        root: The model directory.
        name: Name inside it.
        required: Whether its absence is an error; otherwise it gives None.
        max_bytes: Cap of the file's size.

    Returns:
        The object, or None.

    Raises:
        InputError: It is missing though required, too large, not UTF-8, not JSON (line and column named), not
            an object, or outside the directory.
    """
    path = safe_file(root, name)
    if not path.exists():
        if not required:
            return None
        raise InputError(f"{path}: no such file. Is '{root}' a model directory, and complete?")
    document = load_json(read_bytes(root, name, max_bytes=max_bytes), path)
    if not isinstance(document, dict):
        raise InputError(f"{path}: holds a JSON {type(document).__name__}, not an object. Restore the file.")
    return document


def safe_path(root: Path, name: object) -> Path:
    """As `safe_file`, for files and folders alike.

    Raises:
        InputError: The name, or a link that it stands for, leads out of the directory.
    """
    if not isinstance(name, str) or not name or "\0" in name or "\\" in name:
        raise InputError(
            f"{root}: {name!r} is no usable file name. Names are relative, with '/' between folders."
        )
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or not parts or ":" in parts[0]:
        raise InputError(
            f"{root}: the name {name!r} leads out of the model directory. Only names inside it are read."
        )
    path = root.joinpath(*parts)
    try:
        real, home = path.resolve(), root.resolve()
        dangling = path.is_symlink() and not path.exists()
    except (OSError, RuntimeError) as error:  # a loop of links, a name too long, no permission
        raise InputError(f"{path}: cannot be looked up ({error}). Put the file itself there.") from error
    blobs = hub_blobs(root)
    if not real.is_relative_to(home) and (blobs is None or real.parent != blobs):
        raise InputError(
            f"{path}: is a link that leaves the model directory (to {real}). Copy the file into the "
            "directory."
        )
    if dangling:
        raise InputError(
            f"{path}: is a link to {real}, which does not exist. Fetch the model again, or put the file "
            "itself there."
        )
    return path


def hub_blobs(root: Path) -> Path | None:
    """The blobs folder of the hub cache that a snapshot (or a folder of one) belongs to."""
    home = root.resolve()
    for folder in (home, *home.parents):
        if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
            return folder.parent.parent / "blobs"
    return None


def load_json(raw: bytes, path: Path) -> object:
    """Parse the bytes of a JSON file.

    Raises:
        InputError: It is not UTF-8 (byte named) or not JSON (line and column named).
    """
    try:
        return json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8. Save the file as UTF-8.") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"{path}: {where}: not JSON ({error.msg}). Restore the file.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: JSON that cannot be read ({error}). Restore the file.") from error


def user_path(name: str) -> Path:
    """A path as users write it, ``~`` standing for a home directory; nothing need be there.

    Raises:
        InputError: No file can be called so, there is no such user, or a folder above it may not be looked into.
    """
    try:
        path = Path(name).expanduser()
        path.exists()
    except (OSError, RuntimeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(f"{name[:60]!r} is no path ({reason.rstrip('.')}). Check its name.") from error
    if "\0" in name:
        raise InputError(f"{name[:60]!r} is no path (it holds a zero byte). Check its name.")
    return path
