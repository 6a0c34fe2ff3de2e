"""Sampled softmax as it is defined, with every logit at once and autograd: for any float dtype, float64 too."""

from __future__ import annotations

import torch
from torch import Tensor


def sampled_softmax_reference(
    hidden: Tensor,
    table: Tensor,
    labels: Tensor,
    negatives: Tensor,
    log_inclusion: Tensor,
    *,
    bias: Tensor | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """The loss of ``sampled_softmax``; the table's gradient is dense here. Arguments as there."""
    kept = labels != ignore_index
    if not bool(kept.any()):
        parts = [hidden, table] if bias is None else [hidden, table, bias]
        return sum((part.sum() * 0.0 for part in parts), start=hidden.new_zeros(()))
    wanted = labels[kept].long()
    own = wanted.unique()
    present = set(own.tolist())
    others: dict[int, float] = {}
    for token, log_probability in zip(negatives.tolist(), log_inclusion.tolist(), strict=True):
        if token not in present:
            others.setdefault(token, log_probability)
    ids = torch.tensor([*own.tolist(), *others], device=hidden.device)
    correction = torch.tensor(
        [0.0] * len(own) + [-value for value in others.values()], dtype=hidden.dtype, device=hidden.device
    )
    logits = hidden[kept] @ table[ids].T + correction
    if bias is not None:
        logits = logits + bias[ids]
    return torch.nn.functional.cross_entropy(logits, torch.searchsorted(own, wanted))
