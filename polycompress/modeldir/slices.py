"""Reading chosen rows of a tensor as raw bytes, with few calls and little memory.

A tensor of shape (outer..., rows, inner...) sliced on its rows axis is read as `outer` groups of rows of a
fixed number of bytes. Kept rows that lie near each other are read in one call, the ones between them thrown
away: below some tens of kilobytes a copy by the kernel costs less than another call.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.modeldir.checkpoint import Checkpoint
from polycompress.modeldir.header import DTYPE_BITS, TensorInfo
from polycompress.modeldir.paths import safe_file
from polycompress.modeldir.rawio import read_into, reading

BUFFER_BYTES: Final = 1 << 20
"""Bytes read at a time: few enough to stay in the processor's cache until they are chosen and written."""

GAP_BYTES: Final = 32 << 10
"""Unwanted bytes between two kept rows that are read along rather than skipped."""

_NUMPY_DTYPES: Final = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "C64": "<c8",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class RowSlice:
    """Which rows of one axis are kept.

    Attributes:
        axis: The axis, counted from the front.
        keep: Old rows, strictly increasing, shape (K,), int64.
        pad: Rows added behind the kept ones.
        fill: Value of the added rows.

    Raises:
        ValueError: `keep` is not a strictly increasing list of rows, or an amount is negative.
    """

    axis: int
    keep: NDArray[np.int64]
    pad: int = 0
    fill: float = 0.0

    def __post_init__(self) -> None:
        """Check the fields."""
        keep = self.keep
        if keep.ndim != 1 or not np.issubdtype(keep.dtype, np.integer):
            raise ValueError(f"keep must be a list of row numbers, got shape {keep.shape} of {keep.dtype}")
        if len(keep) and (keep[0] < 0 or np.any(keep[1:] <= keep[:-1])):
            raise ValueError("keep must be strictly increasing and not negative")
        if self.pad < 0 or self.axis < 0:
            raise ValueError(f"pad and axis must not be negative, got pad {self.pad}, axis {self.axis}")

    @property
    def rows(self) -> int:
        """Rows of the axis after slicing, added ones included."""
        return len(self.keep) + self.pad


@dataclass(frozen=True, slots=True)
class RowLayout:
    """A tensor seen as `outer` groups of `rows` rows of `row_bytes` bytes."""

    outer: int
    rows: int
    row_bytes: int


def row_layout(info: TensorInfo, chosen: RowSlice) -> RowLayout:
    """How a tensor's bytes fall into rows of an axis.

    Raises:
        InputError: The tensor's values do not fill whole bytes, so that its rows cannot be cut.
        ValueError: The axis or a row is out of the tensor's range.
    """
    if DTYPE_BITS[info.dtype] % 8:
        raise InputError(
            f"{info.file}: tensor '{info.name}' of type {info.dtype} packs several values into a byte and "
            "cannot be sliced. Use a checkpoint with its tables in a wider type."
        )
    if chosen.axis >= len(info.shape):
        raise ValueError(f"tensor '{info.name}' of shape {info.shape} has no axis {chosen.axis}")
    rows = info.shape[chosen.axis]
    if len(chosen.keep) and int(chosen.keep[-1]) >= rows:
        raise ValueError(
            f"tensor '{info.name}' has {rows} rows on axis {chosen.axis}, row {chosen.keep[-1]} is kept"
        )
    inner = math.prod(info.shape[chosen.axis + 1 :]) * info.itemsize
    return RowLayout(math.prod(info.shape[: chosen.axis]), rows, inner)


def sliced_shape(info: TensorInfo, chosen: RowSlice) -> tuple[int, ...]:
    """Shape of a tensor after slicing."""
    return (*info.shape[: chosen.axis], chosen.rows, *info.shape[chosen.axis + 1 :])


def encode_value(dtype: str, value: float) -> bytes:
    """One value in the bytes of a tensor type, rounded to nearest even.

    Args:
        dtype: Type in the spelling of safetensors. Types of eight-bit floats take zero only.
        value: The value.

    Raises:
        ValueError: The type has no such value.
    """
    if dtype == "BF16":
        bits = int(np.float32(value).view(np.uint32))
        if not math.isfinite(value):
            return (bits >> 16).to_bytes(2, "little")
        return (((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16) & 0xFFFF).to_bytes(2, "little")
    if dtype.startswith("F8") and dtype != "F8_E8M0" and value == 0:
        return b"\0"
    if dtype not in _NUMPY_DTYPES:
        raise ValueError(f"a row of {value} cannot be added to a tensor of type {dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        encoded = np.array(value).astype(_NUMPY_DTYPES[dtype])
    exact = np.isfinite(encoded) if dtype in {"F64", "F32", "F16", "C64"} else encoded == value
    if math.isfinite(value) and not exact:
        raise ValueError(f"a tensor of type {dtype} has no value {value}")
    return encoded.tobytes()


def padding(info: TensorInfo, chosen: RowSlice, row_bytes: int) -> bytes:
    """The bytes of the added rows of one group.

    Raises:
        InputError: The tensor's type has no such value.
    """
    if not chosen.pad:
        return b""
    try:
        value = encode_value(info.dtype, chosen.fill)
    except ValueError as error:
        raise InputError(
            f"{info.file}: tensor '{info.name}': {error}. Leave the padding of the table away for this model."
        ) from error
    return value * (chosen.pad * row_bytes // len(value))


def read_rows(ckpt: Checkpoint, name: str, chosen: RowSlice) -> Iterator[bytes]:
    """Read the bytes of a sliced tensor, block by block.

    Args:
        ckpt: The checkpoint.
        name: The tensor.
        chosen: The rows to keep, on any axis, and the padding behind them.

    Yields:
        Blocks of about a megabyte which joined are the sliced tensor in C order, its padding included.

    Raises:
        InputError: The file was truncated meanwhile, or the tensor's type cannot be sliced.
        ValueError: The axis or a row is out of range.
    """
    path = safe_file(ckpt.root, ckpt.tensors[name].file)
    with reading(path) as descriptor:
        for block in sliced_blocks(descriptor, ckpt, name, chosen):
            yield bytes(block)


def sliced_blocks(
    descriptor: int, ckpt: Checkpoint, name: str, chosen: RowSlice
) -> Iterator[memoryview | bytes]:
    """As `read_rows`, from an open file; each block is valid only until the next one is asked for."""
    info = ckpt.tensors[name]
    path = ckpt.root / info.file
    layout = row_layout(info, chosen)
    added = memoryview(padding(info, chosen, layout.row_bytes))
    keep = chosen.keep.astype(np.int64, copy=False)
    group_bytes = layout.rows * layout.row_bytes
    if layout.row_bytes * layout.outer * chosen.rows == 0:
        return
    if layout.outer > 1 and group_bytes <= BUFFER_BYTES:
        at_once = max(1, BUFFER_BYTES // max(1, group_bytes))
        for first in range(0, layout.outer, at_once):
            count = min(at_once, layout.outer - first)
            raw = np.empty(count * group_bytes, np.uint8)
            read_into(descriptor, raw.data, info.begin + first * group_bytes, path)
            kept = raw.reshape(count, layout.rows, layout.row_bytes)[:, keep]
            fill = np.broadcast_to(np.frombuffer(added, np.uint8), (count, len(added)))
            # numpy may join tall narrow parts in column order, of which memory has no flat view
            yield np.concatenate([kept.reshape(count, -1), fill], axis=1).tobytes()
        return
    for group in range(layout.outer):
        begin = info.begin + group * group_bytes
        if layout.row_bytes > BUFFER_BYTES:
            yield from _long_rows(descriptor, keep, begin, layout.row_bytes, path)
        else:
            yield from _runs(descriptor, keep, begin, layout.row_bytes, path)
        for start in range(0, len(added), BUFFER_BYTES):
            yield added[start : start + BUFFER_BYTES]


def _runs(
    descriptor: int, keep: NDArray[np.int64], begin: int, row_bytes: int, path: Path
) -> Iterator[memoryview]:
    """Kept rows of one group: near ones read together, long gaps skipped."""
    if not len(keep):
        return
    step = np.diff(keep)
    skipped = step - 1 > GAP_BYTES // row_bytes
    # Place of each kept row among the rows that are read at all.
    place = np.concatenate([[0], np.cumsum(np.where(skipped, 1, step))])
    starts = np.concatenate([[0], np.flatnonzero(skipped) + 1])  # first kept row of each stretch
    span = BUFFER_BYTES // row_bytes
    raw, out = np.empty((span, row_bytes), np.uint8), np.empty((span, row_bytes), np.uint8)
    first = 0
    while first < len(keep):
        last = int(np.searchsorted(place, place[first] + span))
        here = place[first:last] - place[first]
        inside = starts[np.searchsorted(starts, first, "right") : np.searchsorted(starts, last)]
        edges = [first, *inside.tolist(), last]
        for start, stop in pairwise(edges):
            target = raw[here[start - first] : here[stop - 1 - first] + 1]
            read_into(descriptor, target.data.cast("B"), begin + int(keep[start]) * row_bytes, path)
        count = last - first
        if here[-1] + 1 == count:
            yield raw[:count].data.cast("B")
        else:
            np.take(raw, here, axis=0, mode="clip", out=out[:count])
            yield out[:count].data.cast("B")
        first = last


def _long_rows(
    descriptor: int, keep: NDArray[np.int64], begin: int, row_bytes: int, path: Path
) -> Iterator[memoryview]:
    """Kept rows of one group, each longer than the buffer."""
    buffer = memoryview(bytearray(BUFFER_BYTES))
    for row in keep.tolist():
        for start in range(0, row_bytes, BUFFER_BYTES):
            view = buffer[: min(BUFFER_BYTES, row_bytes - start)]
            read_into(descriptor, view, begin + row * row_bytes + start, path)
            yield view


def read_tensor(ckpt: Checkpoint, name: str) -> NDArray[np.generic]:
    """Read a whole tensor into memory; meant for small ones.

    Args:
        ckpt: The checkpoint.
        name: The tensor.

    Returns:
        The values. numpy has no bfloat16 and no eight-bit floats: those come as raw uint16 and uint8 of the
        same shape; types of less than a byte come as the flat bytes they are packed in.

    Raises:
        InputError: The file was truncated meanwhile.
    """
    info = ckpt.tensors[name]
    path = safe_file(ckpt.root, info.file)
    raw = np.empty(info.nbytes, np.uint8)
    with reading(path) as descriptor:
        if info.nbytes:
            read_into(descriptor, raw.data, info.begin, path)
    if DTYPE_BITS[info.dtype] % 8:
        return raw
    return raw.view(_NUMPY_DTYPES.get(info.dtype, "u1")).reshape(info.shape)
