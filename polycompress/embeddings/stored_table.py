"""A table in a checkpoint as rows that come in blocks, and rows in the bytes of a checkpoint's type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.blocks import RowTable, row_ranges
from polycompress.errors import InputError
from polycompress.modeldir.paths import safe_file
from polycompress.modeldir.rawio import read_into, reading
from polycompress.modeldir.tensors import Checkpoint

_NUMPY: Final[Mapping[str, np.dtype[Any]]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
"""Types whose rows can be computed with; bfloat16 as its bits."""


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A tensor [V, d] of a checkpoint, read when it is asked for.

    Raises:
        InputError: It is missing, of another number of axes, or of a type that rows are not computed in.
    """

    checkpoint: Checkpoint
    name: str

    def __post_init__(self) -> None:
        """Check type and shape."""
        info = self.checkpoint.tensors.get(self.name)
        if info is None:
            raise InputError(f"{self.checkpoint.root}: the weights hold no tensor '{self.name}'. Restore it.")
        if len(info.shape) != 2:
            raise InputError(
                f"{self.checkpoint.root / info.file}: tensor '{self.name}' has the shape {list(info.shape)}, not that "
                "of a table. Restore it."
            )
        if info.dtype not in _NUMPY:
            raise InputError(
                f"{self.checkpoint.root / info.file}: tensor '{self.name}' is of type {info.dtype}; tables of "
                f"{', '.join(_NUMPY)} can be read. Take a checkpoint of a wider type."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows V and width d."""
        rows, width = self.checkpoint.tensors[self.name].shape
        return rows, width

    @property
    def dtype(self) -> str:
        """Type in the spelling of safetensors."""
        return self.checkpoint.tensors[self.name].dtype

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """See ``RowTable``."""
        info = self.checkpoint.tensors[self.name]
        path = safe_file(self.checkpoint.root, info.file)
        kind, width = _NUMPY[info.dtype], self.shape[1]
        with reading(path) as descriptor:
            for part in row_ranges(self.shape):
                raw = np.empty((part.stop - part.start, width), kind)
                if raw.size:
                    offset = info.begin + part.start * width * kind.itemsize
                    read_into(descriptor, raw.reshape(-1).view(np.uint8).data, offset, path)
                yield decode_rows(raw, info.dtype)

    def read(self) -> NDArray[np.float32]:
        """The whole table."""
        return np.concatenate([np.empty((0, self.shape[1]), np.float32), *self.blocks()])


def decode_rows(raw: NDArray[Any], dtype: str) -> NDArray[np.float32]:
    """Values of a checkpoint's type, bfloat16 as uint16 bits, as float32."""
    if dtype == "BF16":
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float32, copy=False)


def encode_rows(rows: NDArray[np.float32], dtype: str) -> NDArray[Any]:
    """Rows in a checkpoint's type, rounded to nearest even; bfloat16 as its bits in uint16.

    Raises:
        InputError: A value is larger than the type holds.
    """
    if dtype == "BF16":
        bits = np.ascontiguousarray(rows, np.float32).view(np.uint32)
        return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
    with np.errstate(over="ignore"):
        found: NDArray[Any] = rows.astype(_NUMPY[dtype])
    if dtype == "F16" and not np.isfinite(found).all():
        raise InputError(
            "a value is larger than the type F16 holds (65,504). Give --split balanced, or take a checkpoint of BF16 "
            "or F32"
        )
    return found


def encoded_blocks(table: RowTable, dtype: str) -> Iterator[NDArray[Any]]:
    """A table's rows in a checkpoint's type, block by block."""
    for block in table.blocks():
        yield encode_rows(block, dtype)
