"""Batches of what was encoded: texts of like length together, under a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.evaluation.encoding import Encoded


def plan_batches(lengths: Sequence[int], batch_tokens: int, multiple: int = 8) -> list[list[int]]:
    """Put items of like length together.

    Args:
        lengths: Of the items, in tokens.
        batch_tokens: Rows of a batch times its width are at most this.
        multiple: The width of a batch is its longest item, rounded up to a multiple of this.

    Returns:
        Batches of item numbers, longest items first, so that what does not fit into memory fails at once; every item
        once. The same for the same lengths.

    Raises:
        InputError: One item alone is more than the budget.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable").tolist()
    batches = []
    begin = 0
    while begin < len(order):
        width = padded_length(lengths[order[begin]], multiple)
        rows = batch_tokens // width
        if not rows:
            raise InputError(
                f"batch_tokens is {batch_tokens}, but the longest text takes {width} tokens: give at least {width}, or "
                "a smaller max_length."
            )
        batches.append(order[begin : begin + rows])
        begin += rows
    return batches


def padded_length(length: int, multiple: int) -> int:
    """A length rounded up to a multiple."""
    return -(-length // multiple) * multiple


def pad_batch(encoded: Sequence[Encoded], pad_id: int, multiple: int = 8) -> dict[str, torch.Tensor]:
    """What a model of transformers takes, padded on the right.

    Args:
        encoded: The rows, at least one.
        pad_id: Id of padding.
        multiple: The width is rounded up to a multiple of it.

    Returns:
        ``input_ids`` and ``attention_mask``, and ``token_type_ids`` where the rows have segments: (B, L) int64.
    """
    lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
    width = padded_length(int(lengths.max()), multiple)
    mask = np.arange(width) < lengths[:, None]  # (B, L)

    def laid_out(values: Sequence[NDArray[np.int32]], padding: int) -> torch.Tensor:
        field = np.full(mask.shape, padding, dtype=np.int64)
        field[mask] = np.concatenate(values)
        return torch.from_numpy(field)

    batch = {
        "input_ids": laid_out([row.ids for row in encoded], pad_id),
        "attention_mask": torch.from_numpy(mask.astype(np.int64)),
    }
    types = [row.type_ids for row in encoded if row.type_ids is not None]
    if len(types) == len(encoded):
        batch["token_type_ids"] = laid_out(types, 0)
    return batch
