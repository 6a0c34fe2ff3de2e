"""The one place that sets what is global to a process: the seed of its generators, and how it computes."""

from __future__ import annotations

import os


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
