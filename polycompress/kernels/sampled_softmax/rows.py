"""Cross-entropy of the rows of one tile of logits, and its gradient, in plain torch."""

from __future__ import annotations

import torch
from torch import Tensor


def softmax_rows(
    logits: Tensor, correction: Tensor, targets: Tensor, gradient: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Loss of each row; with z = logits + correction, the gradient is softmax(z) less one at the target.

    Args:
        logits: [t, C]; overwritten.
        correction: [C] of ``dtype``.
        targets: [t] int64, columns.
        gradient: [t, C], written; it may be ``logits`` itself. None: not wanted.
        dtype: Of the sums.

    Returns:
        [t] of ``dtype``.
    """
    scores = logits.add_(correction) if logits.dtype is dtype else logits.to(dtype) + correction
    partition = scores.logsumexp(dim=1)
    losses = partition - scores.gather(1, targets.unsqueeze(1)).squeeze(1)
    if gradient is not None:
        scores.sub_(partition.unsqueeze(1)).exp_()
        scores[torch.arange(len(targets), device=targets.device), targets] -= 1.0
        if gradient is not scores:
            gradient.copy_(scores)
    return losses
