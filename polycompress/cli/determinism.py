"""The one place that sets what is global to a process: the seed of its generators, and how it computes."""

from __future__ import annotations

import os
from typing import Final

from polycompress.errors import InputError

MAX_THREADS: Final = 1024


def seed_process(seed: int) -> None:
    """Seed torch's generators and choose algorithms that give the same bits every time, where there are such.

    Processes of one run get different generators, so that they do not drop the same units.

    Args:
        seed: 0 to 2 ** 63 - 1.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    import torch

    torch.manual_seed((seed * 1_000_003 + int(os.environ.get("RANK", "0"))) % 2**63)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # a debugging aid that costs time


def use_threads(threads: int | None) -> None:
    """Let torch compute with so many threads; None: with as many as it takes by itself.

    Raises:
        InputError: There cannot be so many.
    """
    if threads is None:
        return
    if not 1 <= threads <= MAX_THREADS:
        raise InputError(f"--threads is {threads}; whole numbers from 1 to {MAX_THREADS} will do.")
    import torch

    torch.set_num_threads(threads)
