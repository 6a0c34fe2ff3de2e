"""Where the data that ships with the code lies, in a checkout and in an installed wheel alike."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from polycompress.errors import StorageError

_PACKAGE = Path(__file__).resolve().parent


def data_path(name: Literal["languages", "eval"]) -> Path:
    """The directory with one kind of data.

    A wheel holds it inside the package (``polycompress/_data``); a checkout, and so an editable install,
    beside the package at the root of the repository.

    Args:
        name: ``languages`` (the language registry) or ``eval`` (tasks and recorded results).

    Raises:
        StorageError: The installation is incomplete.
    """
    candidates = (_PACKAGE / "_data" / name, _PACKAGE.parent / name)
    for path in candidates:
        if path.is_dir():
            return path
    tried = " and ".join(str(path) for path in candidates)
    raise StorageError(
        f"This installation of polycompress has no data directory {name!r} (looked at {tried}). Reinstall it."
    )
