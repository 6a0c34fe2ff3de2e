"""Batches of what was encoded: texts of like length together, under a budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.evaluation.encoding import Encoded

OVERHEAD: Final = 64
"""Tokens that a processor computes in the time that a batch costs by itself: measured with 12 layers in bf16."""
OVERHEAD_GPU: Final = 2048
"""The same of a GPU, which small batches do not fill."""
T = TypeVar("T", int, NDArray[np.int64])


def plan_batches(
    lengths: Sequence[int], batch_tokens: int, multiple: int = 8, overhead: int = OVERHEAD
) -> list[list[int]]:
    """Put items of like length together, so that as little as possible is computed.

    Of all ways to cut the items, sorted by length, into batches, the cheapest is taken: a batch costs its rows times
    its width, and a fixed amount. So a batch ends where padding would cost more than another batch does.

    Args:
        lengths: Of the items, in tokens, at least 1.
        batch_tokens: Rows of a batch times its width are at most this.
        multiple: The width of a batch is its longest item, rounded up to a multiple of this.
        overhead: What a batch costs by itself, in tokens.

    Returns:
        Batches of item numbers, longest items first, so that what does not fit into memory fails at once; every item
        once. The same for the same lengths.

    Raises:
        InputError: One item alone is more than the budget.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    widths = padded_length(sizes[order], multiple)
    if len(widths) and widths[0] > batch_tokens:
        raise InputError(
            f"batch_tokens is {batch_tokens}, but the longest text takes {widths[0]} tokens: give at least "
            f"{widths[0]}, or a smaller max_length."
        )
    rows = _cheapest_rows(widths, batch_tokens, overhead)
    batches = []
    begin = 0
    while begin < len(order):
        batches.append(order[begin : begin + rows[begin]].tolist())
        begin += rows[begin]
    return batches


def _cheapest_rows(widths: NDArray[np.int64], budget: int, overhead: int) -> list[int]:
    """For each item the rows of the batch that begins with it, if what follows is cut at least cost, too."""
    count = len(widths)
    cost = np.zeros(count + 1, dtype=np.int64)  # of the items from here on
    rows = [0] * count
    for item in range(count - 1, -1, -1):
        width = int(widths[item])
        most = min(budget // width, count - item)
        costs = cost[item + 1 : item + most + 1] + np.arange(1, most + 1) * width
        best = int(costs.argmin())
        rows[item] = best + 1
        cost[item] = costs[best] + overhead
    return rows


def padded_length(length: T, multiple: int) -> T:
    """A length, or an array of them, rounded up to a multiple."""
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
