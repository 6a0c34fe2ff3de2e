"""What a process keeps in memory that it shares with nobody, read from outside by the system's own account."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20
_PROC: Final = Path("/proc")


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """Of one process that loaded a model and ran it, in MiB."""

    peak_mib: float
    """The most private memory it had at any time, libraries included."""
    loaded_mib: float
    """Private memory after loading, before the first input."""
    libraries_mib: float
    """Private memory after importing the libraries, before loading."""
    mapped_mib: float
    """Part of the peak and of what is loaded: files of the model that stay mapped instead of being copied."""
    accelerator_mib: float | None = None
    """Peak on the GPU, where there is one."""

    @property
    def model_mib(self) -> float:
        """What the model and its work added to the libraries at the peak."""
        return self.peak_mib - self.libraries_mib


def can_measure() -> bool:
    """Whether this system tells."""
    return (_PROC / "self" / "status").is_file()


def anonymous_mib(process: int) -> float:
    """Memory of a process that no file and no other process stands behind: what it would need were it alone.

    Pages of files, such as those of the libraries and of weights that are read through a mapping, are not among it:
    the system drops and shares them as it likes, so they would make the figure depend on who else is there.

    Args:
        process: Its number.

    Returns:
        MiB; 0 where it is gone.
    """
    try:
        text = (_PROC / str(process) / "status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    kilobytes = 0
    for line in text.splitlines():
        if line.startswith(("RssAnon:", "RssShmem:", "VmSwap:")):
            kilobytes += int(line.split()[1])
    return kilobytes / 1024


def mapped_mib(process: int, folder: Path) -> float:
    """Size of the files of a directory that a process has mapped instead of copied.

    They count whole: their pages come into memory as rows are used, so what is there after a few inputs says little.

    Args:
        process: Its number.
        folder: The directory; links in it are followed, as a hub's cache has them.

    Returns:
        MiB; 0 where the process is gone.
    """
    files = {str(each.resolve()) for each in folder.iterdir() if each.is_file()}
    try:
        lines = os.fsdecode((_PROC / str(process) / "maps").read_bytes()).splitlines()
    except OSError:
        return 0.0
    found = 0
    for line in lines:
        words = line.split(maxsplit=5)
        if len(words) == 6 and words[5] in files:
            begin, _, end = words[0].partition("-")
            found += int(end, 16) - int(begin, 16)
    return found / MIB
