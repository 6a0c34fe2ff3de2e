"""What the measurements of kernels share: clocks for CPU and CUDA, the copy bandwidth, records, and the check.

Each operation has a module ``kernel_<name>.py`` with

- ``WANTED``: its ratios and their bounds;
- ``measure(device, rounds) -> Section``: the ratios (None: not measured on this device) and records;
- ``check(device) -> dict[str, float]``: the largest error of each Triton kernel at small sizes, as a share of the
  largest value, on CUDA or in the interpreter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """What one operation's module measured."""

    ratios: Mapping[str, float | None]
    records: Sequence[Mapping[str, Any]] = field(default=())


def alternate(
    functions: Mapping[str, Callable[[], object]], device: str, rounds: int, warm_up: int = 3
) -> dict[str, list[float]]:
    """Seconds of each function, called in turn; CUDA's own clock on a GPU, processor time on the CPU.

    On a GPU the level-2 cache is filled with something else before each call.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    flush = torch.empty(2**28, dtype=torch.uint8, device=device) if device == "cuda" else None
    for turn in range(warm_up + rounds):
        for name, function in functions.items():
            if flush is not None:
                flush.zero_()
            spent = _time_cuda(function) if device == "cuda" else _time_cpu(function)
            if turn >= warm_up:
                times[name].append(spent)
    return times


def record(
    name: str, seconds: Sequence[float], *, bytes_moved: int, operations: int, limit: float, **shape: Any
) -> dict[str, Any]:
    """One line of the result: what had to be moved and computed, how long it took, how near the limit that is.

    Args:
        name: Of the operation.
        seconds: Of each round.
        bytes_moved: What it must read and write at least.
        operations: Floating-point operations.
        limit: Measured copy bandwidth of the device, bytes a second.
        shape: Sizes and types.
    """
    low, middle, high = (float(value) for value in np.percentile(seconds, [20, 50, 80]))
    return {
        "name": name,
        **shape,
        "bytes": bytes_moved,
        "operations": operations,
        "milliseconds": [digits(1000 * value) for value in (low, middle, high)],
        "share_of_copy_bandwidth": digits(bytes_moved / middle / limit),
    }


def copy_bandwidth(device: str) -> float:
    """Bytes read and written a second by a large copy."""
    amount = 2**30 if device == "cuda" else 2**28
    source = torch.zeros(amount, dtype=torch.uint8, device=device)
    target = torch.empty_like(source).fill_(0)
    times = alternate({"copy": lambda: target.copy_(source)}, device, rounds=11)
    return 2 * amount / float(np.median(times["copy"]))


def zipf(amount: int, rows: int, device: str, seed: int = 0) -> torch.Tensor:
    """Ids, the k-th most frequent with probability proportional to 1 / k, spread over the rows at random."""
    generator = np.random.default_rng(seed)
    shares = np.cumsum(1 / np.arange(1, rows + 1))
    ranks = np.searchsorted(shares, generator.random(amount) * shares[-1])
    return torch.from_numpy(generator.permutation(rows)[ranks]).to(device)


def digits(value: float) -> float:
    """Four of them."""
    return float(f"{value:.4g}")


def _time_cuda(function: Callable[[], object]) -> float:
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    begin.record()
    function()
    end.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end)) / 1000


def _time_cpu(function: Callable[[], object]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started
