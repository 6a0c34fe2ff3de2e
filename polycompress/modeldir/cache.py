"""The user's cache: what can be made again but takes a while."""

from __future__ import annotations

import os
from pathlib import Path


def cache_directory() -> Path | None:
    """Where things are cached: ``$POLYCOMPRESS_CACHE``, else ``$XDG_CACHE_HOME/polycompress``, else ``~/.cache``.

    Returns:
        The directory, which may not exist yet; None where the user has no home.
    """
    if named := os.environ.get("POLYCOMPRESS_CACHE"):
        return Path(named)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "polycompress"
    try:
        return Path.home() / ".cache" / "polycompress"
    except RuntimeError:
        return None
