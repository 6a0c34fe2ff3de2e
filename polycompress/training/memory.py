"""How much memory a run takes, and what running out of it looks like."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path
from typing import Final

import torch

MIB: Final = 1 << 20
_STATM: Final = Path("/proc/self/statm")
_CPU_MESSAGES: Final = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
)


def memory_mib(device: torch.device) -> float:
    """Memory in use now: the accelerator's where there is one, else the process's resident memory."""
    if device.type == "cuda":
        return float(torch.cuda.memory_allocated(device)) / MIB
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB
    return peak_memory_mib(device)


def peak_memory_mib(device: torch.device) -> float:
    """The most memory in use so far, of the same kind as ``memory_mib``."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / MIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return max(peak, memory_mib(device)) if _STATM.exists() else peak


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, on whichever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _CPU_MESSAGES)


def free_cached_memory(device: torch.device) -> None:
    """Give back what the allocator keeps for later, after a batch did not fit."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


class FittedShapes:
    """Shapes of batches that memory has sufficed for; what is no larger in rows and in tokens a row should fit."""

    def __init__(self) -> None:
        self._largest: list[tuple[int, int]] = []

    def cover(self, shape: tuple[int, int]) -> bool:
        """Whether a batch of at least as many rows and tokens a row has fitted."""
        return any(shape[0] <= rows and shape[1] <= width for rows, width in self._largest)

    def add(self, shape: tuple[int, int]) -> None:
        """A batch of this shape has fitted."""
        if not self.cover(shape):
            smaller = FittedShapes()
            smaller._largest = [shape]
            self._largest = [each for each in self._largest if not smaller.cover(each)] + [shape]
