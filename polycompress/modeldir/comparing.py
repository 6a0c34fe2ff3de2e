"""Proof that a cut table holds its source's rows: both files are read anew and compared byte by byte.

Nothing here is shared with the code that cut the table: the written file's header is parsed again, and the
source is walked in blocks of a fixed number of rows instead of stretches of kept ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from polycompress.modeldir.checkpoint import Checkpoint
from polycompress.modeldir.header import TensorInfo
from polycompress.modeldir.paths import safe_file
from polycompress.modeldir.rawio import read_into, reading
from polycompress.modeldir.slices import RowSlice, encode_value

BLOCK_BYTES: Final = 512 << 10
"""Bytes of the source looked at together."""


@dataclass(frozen=True, slots=True)
class RowCheck:
    """How one tensor's rows compare with the source's.

    Attributes:
        name: The tensor.
        rows: Rows that were kept.
        identical: Rows whose every bit equals the source's.
        first_difference: The first row (counted in the new table) that differs, or None.
        padding_ok: Whether the added rows hold the value they should, and there are as many as there should
            be.
    """

    name: str
    rows: int
    identical: int
    first_difference: int | None
    padding_ok: bool

    @property
    def passed(self) -> bool:
        """Whether every row and the padding are as they should be."""
        return self.identical == self.rows and self.padding_ok


def compare_rows(
    source: Checkpoint, trimmed: Checkpoint, slices: Mapping[str, RowSlice]
) -> tuple[RowCheck, ...]:
    """Compare every kept row of every sliced tensor with its source, bit by bit.

    Args:
        source: The checkpoint that was cut.
        trimmed: The checkpoint that was written, opened anew.
        slices: What was kept, by tensor.

    Returns:
        One result for each slice. A tensor that is missing, or has another type or shape than the slice
        gives, counts as different in every row.

    Raises:
        InputError: A file was truncated meanwhile.
    """
    return tuple(_compare(source, trimmed, name, chosen) for name, chosen in slices.items())


def compare_others(
    source: Checkpoint, trimmed: Checkpoint, slices: Mapping[str, RowSlice]
) -> tuple[str, ...]:
    """Compare every tensor outside `slices`, bit by bit.

    Returns:
        Names of those that differ in their bits, type or shape, or stand in one of the checkpoints only.

    Raises:
        InputError: A file was truncated meanwhile.
    """
    names = sorted((source.tensors.keys() | trimmed.tensors.keys()) - slices.keys())
    return tuple(name for name in names if not _same_tensor(source, trimmed, name))


def _same_tensor(source: Checkpoint, trimmed: Checkpoint, name: str) -> bool:
    old, new = source.tensors.get(name), trimmed.tensors.get(name)
    if old is None or new is None or old.dtype != new.dtype or old.shape != new.shape:
        return False
    old_path, new_path = safe_file(source.root, old.file), safe_file(trimmed.root, new.file)
    if old_path.samefile(new_path):
        return old.begin == new.begin
    with reading(old_path) as old_file, reading(new_path) as new_file:
        for start in range(0, old.nbytes, BLOCK_BYTES):
            count = min(BLOCK_BYTES, old.nbytes - start)
            one, other = bytearray(count), bytearray(count)
            read_into(old_file, memoryview(one), old.begin + start, old_path)
            read_into(new_file, memoryview(other), new.begin + start, new_path)
            if one != other:
                return False
    return True


def _compare(source: Checkpoint, trimmed: Checkpoint, name: str, chosen: RowSlice) -> RowCheck:
    old, new = source.tensors[name], trimmed.tensors.get(name)
    kept, axis = len(chosen.keep), chosen.axis
    shape = list(old.shape)
    shape[axis] = kept + chosen.pad
    if new is None or new.dtype != old.dtype or list(new.shape) != shape:
        return RowCheck(name, kept, 0, 0 if kept else None, padding_ok=False)
    same = np.ones(kept, np.bool_)
    padding_ok = True
    width = math.prod(old.shape[axis + 1 :]) * old.itemsize
    old_path, new_path = safe_file(source.root, old.file), safe_file(trimmed.root, new.file)
    with reading(old_path) as old_file, reading(new_path) as new_file:
        for group in range(math.prod(old.shape[:axis]) if width else 0):
            old_begin = old.begin + group * old.shape[axis] * width
            new_begin = new.begin + group * shape[axis] * width
            sides = (_Side(old_file, old_path, old_begin, width), _Side(new_file, new_path, new_begin, width))
            _compare_group(*sides, chosen.keep, same)
            padding_ok &= _padding_equal(sides[1], kept, chosen, old)
    different = np.flatnonzero(~same)
    first = int(different[0]) if len(different) else None
    return RowCheck(name, kept, kept - len(different), first, padding_ok)


@dataclass(frozen=True, slots=True)
class _Side:
    """Rows of `width` bytes that lie one after another in an open file."""

    descriptor: int
    path: Path
    begin: int
    width: int

    def read(self, first: int, last: int, start: int = 0, stop: int | None = None) -> NDArray[np.uint8]:
        """Columns `start` to `stop` (in bytes) of the rows from `first` to `last`; shape (rows, bytes)."""
        stop = self.width if stop is None else stop
        buffer = np.empty((last - first, stop - start), np.uint8)
        if start or stop != self.width:
            for row in range(first, last):
                read_into(self.descriptor, buffer[row - first].data, self._offset(row) + start, self.path)
        else:
            read_into(self.descriptor, buffer.data.cast("B"), self._offset(first), self.path)
        return buffer

    def _offset(self, row: int) -> int:
        return self.begin + row * self.width


def _compare_group(old: _Side, new: _Side, keep: NDArray[np.int64], same: NDArray[np.bool_]) -> None:
    """Walk the source in blocks of equal size and clear the flag of every kept row that differs."""
    rows = max(1, BLOCK_BYTES // old.width)
    block = -1
    while (first := int(np.searchsorted(keep, (block + 1) * rows))) < len(keep):
        block = int(keep[first]) // rows
        last = int(np.searchsorted(keep, (block + 1) * rows))
        inside = keep[first:last] - int(keep[first])
        for start in range(0, old.width, BLOCK_BYTES):
            stop = min(old.width, start + BLOCK_BYTES)
            theirs = old.read(int(keep[first]), int(keep[last - 1]) + 1, start, stop)[inside]
            ours = new.read(first, last, start, stop)
            if theirs.tobytes() != ours.tobytes():
                same[first:last] &= (theirs == ours).all(axis=1)


def _padding_equal(new: _Side, kept: int, chosen: RowSlice, info: TensorInfo) -> bool:
    if not chosen.pad:
        return True
    value = np.frombuffer(encode_value(info.dtype, chosen.fill), np.uint8)
    rows = max(1, BLOCK_BYTES // new.width)
    for first in range(kept, kept + chosen.pad, rows):
        last = min(first + rows, kept + chosen.pad)
        for start in range(0, new.width, BLOCK_BYTES):
            stop = min(new.width, start + BLOCK_BYTES)
            if not (new.read(first, last, start, stop).reshape(-1, len(value)) == value).all():
                return False
    return True
