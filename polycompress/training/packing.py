"""Packing: several texts in one row, none of which sees another.

A packed row holds whole texts; positions restart with each, and attention is block-diagonal, so a forward pass gives
each text what it would get alone. Padding forms a block of its own: every row of the attention has something to look
at, and no softmax is taken over nothing.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Pack items into rows, each into the row that it fills best, longest first (best-fit decreasing).

    Args:
        lengths: Of the items, 1 to ``capacity``.
        capacity: Of a row.

    Returns:
        Rows of item numbers; every item once. The same for the same lengths.
    """
    rows: list[list[int]] = []
    open_rows: dict[int, list[int]] = {}
    rooms: list[int] = []  # increasing; those of which open_rows has a row
    for item in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        length = lengths[item]
        place = bisect.bisect_left(rooms, length)
        if place == len(rooms):
            row, room = len(rows), capacity
            rows.append([])
        else:
            room = rooms[place]
            row = open_rows[room].pop()
            if not open_rows[room]:
                del rooms[place]
        rows[row].append(item)
        rest = room - length
        if rest:
            waiting = open_rows.setdefault(rest, [])
            if not waiting:
                bisect.insort(rooms, rest)
            waiting.append(row)
    return rows


def block_mask(document_ids: torch.Tensor, *, causal: bool) -> torch.Tensor:
    """Who sees whom in packed rows.

    Args:
        document_ids: (B, L) equal within a text, different between the texts of a row; 0 for padding.
        causal: Whether nobody sees what comes after it.

    Returns:
        (B, 1, L, L) bool, true where the query (third axis) sees the key (fourth): what
        ``scaled_dot_product_attention`` takes.
    """
    mask = document_ids[:, None, :, None] == document_ids[:, None, None, :]
    return mask.tril() if causal else mask


def additive_mask(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A mask to be added to attention scores, which eager attention takes: 0 where seen, else the type's least value.

    Args:
        mask: Bool, of any shape.
        dtype: Of the scores.

    Returns:
        Of the same shape and that type.
    """
    import torch

    unseen = torch.full((), torch.finfo(dtype).min, dtype=dtype, device=mask.device)
    return torch.where(mask, torch.zeros_like(unseen), unseen)
