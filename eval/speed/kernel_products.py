"""What the measurements of the operations built on matrix products share: peak memory and the rate of products."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from eval.speed.kernel_harness import alternate


def product_rate(device: str, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large square matrix product."""
    size = 8192 if device == "cuda" else 1024
    left = torch.ones(size, size, dtype=dtype, device=device)
    times = alternate({"product": lambda: left @ left}, device, rounds=5)
    return 2 * size**3 / float(np.median(times["product"]))


def peak_above(function: Callable[[], object], learners: Sequence[torch.Tensor]) -> int | None:
    """Bytes that a CUDA call holds at most beyond what was there before and its own dense gradients.

    Args:
        function: Forward and backward.
        learners: What gets gradients; they are dropped before and after.

    Returns:
        None if the card's memory does not suffice.
    """
    _drop(learners)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    try:
        function()
    except torch.cuda.OutOfMemoryError:
        return None
    finally:
        gradients = sum(
            learner.grad.numel() * learner.grad.itemsize
            for learner in learners
            if learner.grad is not None and not learner.grad.is_sparse
        )
        _drop(learners)
    return int(torch.cuda.max_memory_allocated() - before - gradients)


def step(loss: Callable[[], torch.Tensor], learners: Sequence[torch.Tensor]) -> Callable[[], None]:
    """Forward and backward of a loss into fresh gradients."""

    def run() -> None:
        _drop(learners)
        loss().backward()

    return run


def largest_error(found: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]) -> float:
    """The largest error of several tensors, each as a share of its largest value."""
    return max(
        float((one.detach().to_dense().double() - two.detach()).abs().max() / two.detach().abs().max())
        for one, two in zip(found, wanted, strict=True)
    )


def _drop(learners: Sequence[torch.Tensor]) -> None:
    for learner in learners:
        learner.grad = None
