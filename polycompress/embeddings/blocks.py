"""Tables as rows that come in blocks, so that one of any size is worked on in little memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES: Final = 16 << 20
"""Of a block in float32: large enough for matrix products to be fast."""


class RowTable(Protocol):
    """A table whose rows come in order, as often as they are asked for."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows V and width d."""
        ...

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """All rows from the first to the last, [n, d] float32 at a time; each block is valid until the next."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ArrayTable:
    """An array in memory, or mapped from a file, as blocks of rows.

    Raises:
        ValueError: It is not of two axes.
    """

    array: NDArray[Any]
    """[V, d] of any real type."""

    def __post_init__(self) -> None:
        """Check the axes."""
        if self.array.ndim != 2:
            raise ValueError(f"a table has two axes, this array has the shape {self.array.shape}")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows V and width d."""
        rows, width = self.array.shape
        return rows, width

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """See ``RowTable``."""
        for part in row_ranges(self.shape):
            yield np.ascontiguousarray(self.array[part], dtype=np.float32)


def row_ranges(shape: tuple[int, int]) -> Iterator[slice]:
    """The rows of each block of a table."""
    rows, width = shape
    step = max(1, BLOCK_BYTES // (4 * max(1, width)))
    for first in range(0, rows, step):
        yield slice(first, min(rows, first + step))


def as_table(table: NDArray[Any] | RowTable) -> RowTable:
    """An array or a table as a table."""
    return ArrayTable(table) if isinstance(table, np.ndarray) else table
