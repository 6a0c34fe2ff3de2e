"""What the optimiser remembers of each row."""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from polycompress.errors import InputError

SecondMoment = Literal["element", "row"]
"""One second moment per element, as AdamW has, or one per row: the mean over the row, which halves the state."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RowState:
    """The state of a (V, d) table, changed in place; its type is float32 (float64 for a float64 table)."""

    first: Tensor
    """(V, d): first moments, without bias correction."""
    second: Tensor
    """(V, d), or (V,) with one per row: second moments, without bias correction."""
    touches: Tensor
    """(V,) int32: how often the row was updated; its own step count."""
    decayed: Tensor
    """(V,) float64: the running sum of log(1 - lr * weight_decay) up to which the row's decay has been applied."""

    @classmethod
    def zeros(cls, table: Tensor, second: SecondMoment = "element") -> RowState:
        """The state of a table that was never touched.

        On the CPU the memory of a row is taken when the row is first touched.
        """
        rows, width = table.shape
        kind = torch.float64 if table.dtype is torch.float64 else torch.float32
        return cls(
            first=_zeros((rows, width), kind, table.device),
            second=_zeros((rows, width) if second == "element" else (rows,), kind, table.device),
            touches=_zeros((rows,), torch.int32, table.device),
            decayed=_zeros((rows,), torch.float64, table.device),
        )

    def to(self, device: torch.device) -> RowState:
        """The same state on another device."""
        return RowState(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def compact(self) -> dict[str, Tensor]:
        """The rows that differ from a fresh state: what a snapshot has to hold.

        Returns:
            ``rows`` (R,) int64 increasing, and each field's values at these rows.
        """
        rows = ((self.touches != 0) | (self.decayed != 0)).nonzero().squeeze(1)
        return {"rows": rows, **{field.name: getattr(self, field.name)[rows] for field in fields(self)}}

    @classmethod
    def expanded(cls, table: Tensor, compact: dict[str, Tensor]) -> RowState:
        """The state of a table from what ``compact`` gave, on the table's device.

        Raises:
            InputError: It belongs to a table of another shape.
        """
        rows = compact["rows"]
        width = compact["first"].shape[1]
        last = int(rows[-1]) if rows.numel() else -1
        if width != table.shape[1] or last >= table.shape[0]:
            raise InputError(
                f"this optimiser state is of rows up to {last} and width {width}, the table is "
                f"{tuple(table.shape)}: the snapshot is of another model"
            )
        rows = rows.to(table.device)
        state = cls.zeros(table, "element" if compact["second"].ndim == 2 else "row")
        for field in fields(cls):
            whole = getattr(state, field.name)
            whole.index_copy_(0, rows, compact[field.name].to(whole))
        return state


def next_decay_sum(decay_sum: float, lr: float, weight_decay: float) -> float:
    """The running sum of log(1 - lr * weight_decay) after one more step.

    Raises:
        InputError: The product is 1 or more, so a step would wipe or flip every weight.
    """
    if not 0 <= lr * weight_decay < 1:
        raise InputError(
            f"lr * weight_decay must be at least 0 and below 1, got {lr} * {weight_decay} = {lr * weight_decay}"
        )
    return decay_sum + math.log1p(-lr * weight_decay)


def _zeros(shape: tuple[int, ...], kind: torch.dtype, device: torch.device) -> Tensor:
    amount = math.prod(shape)
    if device.type != "cpu" or amount == 0:
        return torch.zeros(shape, dtype=kind, device=device)
    # Pages straight from the operating system read as zero and cost nothing until they are written. torch writes all
    # zeros, numpy asks for huge pages, of which one row wakes two megabytes.
    pages = mmap.mmap(-1, amount * kind.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=kind).view(shape)
