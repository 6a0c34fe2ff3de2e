"""A tensor of a checkpoint as rows that are read when they are asked for, in any order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.stored_table import decode_rows
from polycompress.errors import InputError
from polycompress.modeldir.header import TensorInfo
from polycompress.modeldir.paths import safe_file
from polycompress.modeldir.rawio import read_into, reading
from polycompress.modeldir.tensors import Checkpoint

_RAW: Final[Mapping[str, np.dtype[Any]]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
"""Types that rows are averaged in; bfloat16 as its bits."""


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Rows of a tensor in an open file: float64 of F64, float32 of all other types, which hold them without loss."""

    descriptor: int
    path: Path
    info: TensorInfo
    rows: int
    """V: of a table its rows, of a bias its values."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(V, m); m is 1 of a bias."""
        return self.rows, math.prod(self.info.shape) // max(1, self.rows)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what is read."""
        return np.dtype(np.float64 if self.info.dtype == "F64" else np.float32)

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, rows: NDArray[np.integer], /) -> NDArray[Any]:
        """Some rows, (n, m), in the order asked; those that lie side by side are read in one call."""
        wanted, places = np.unique(rows, return_inverse=True)
        if len(wanted) and not 0 <= int(wanted[0]) <= int(wanted[-1]) < self.rows:
            raise IndexError(f"rows {int(wanted[0])} to {int(wanted[-1])} of {self.rows}")
        kind, width = _RAW[self.info.dtype], self.shape[1]
        raw = np.empty((len(wanted), width), kind)
        edges = np.flatnonzero(np.diff(wanted) != 1) + 1
        for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(wanted)], strict=True):
            if raw[start:stop].size:
                offset = self.info.begin + int(wanted[start]) * width * kind.itemsize
                read_into(self.descriptor, raw[start:stop].reshape(-1).view(np.uint8).data, offset, self.path)
        found: NDArray[Any] = raw if kind.itemsize == 8 else decode_rows(raw, self.info.dtype)
        chosen: NDArray[Any] = found[places.reshape(-1)]
        return chosen


def check_rows(checkpoint: Checkpoint, name: str) -> None:
    """Refuse a tensor of a type that rows cannot be averaged in.

    Raises:
        InputError: It is of such a type.
    """
    info = checkpoint.tensors[name]
    if info.dtype not in _RAW:
        raise InputError(
            f"{checkpoint.root / info.file}: tensor '{name}' is of type {info.dtype}; rows of {', '.join(_RAW)} can be "
            "averaged. Take a checkpoint of a wider type."
        )


@contextmanager
def stored_rows(checkpoint: Checkpoint, name: str, rows: int) -> Iterator[StoredRows]:
    """Open a tensor with so many rows.

    Args:
        checkpoint: Where it lies.
        name: Of a table (V, d), or a bias (V,) or (1, V).
        rows: V.

    Raises:
        InputError: Its type cannot be averaged in, or the file cannot be read.
    """
    check_rows(checkpoint, name)
    info = checkpoint.tensors[name]
    path = safe_file(checkpoint.root, info.file)
    with reading(path) as descriptor:
        yield StoredRows(descriptor, path, info, rows)
