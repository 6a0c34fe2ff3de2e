"""The header of a safetensors file: eight bytes of length, then JSON.

We parse it ourselves because numpy knows neither bfloat16 nor fp8, because raw bytes are all that surgery
needs, and because a header is untrusted input. The rules are those of the safetensors library: tensors lie
one after another, without overlap or hole, and the last one ends where the file ends.

Reference: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.modeldir.rawio import read_into, reading

MAX_HEADER_BYTES: Final = 100_000_000
"""The library's own limit for a header."""

DTYPE_BITS: Final[Mapping[str, int]] = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "C64": 64,
    "I64": 64, "I32": 32, "I16": 16, "I8": 8,
    "U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
"""Bits of one value, by the format's name of the type. Those below eight are carried, never sliced."""

_AGAIN = "Fetch the file again, or write it anew with safetensors."
_FIELDS = {"dtype", "shape", "data_offsets"}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where one tensor lies.

    Attributes:
        name: Its name in the checkpoint.
        dtype: Type in the spelling of safetensors, such as "F32", "BF16" or "F8_E4M3".
        shape: Sizes of its axes.
        file: Name of its file inside the model directory.
        begin: First byte, counted from the beginning of the file.
        end: Byte after the last.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    begin: int
    end: int

    @property
    def itemsize(self) -> int:
        """Bytes of one value.

        Raises:
            ValueError: Its type has values of less than a byte.
        """
        bits = DTYPE_BITS[self.dtype]
        if bits % 8:
            raise ValueError(
                f"tensor '{self.name}': a value of type {self.dtype} has {bits} bits, no whole bytes"
            )
        return bits // 8

    @property
    def nbytes(self) -> int:
        """Bytes of the whole tensor."""
        return self.end - self.begin

    @property
    def alignment(self) -> int:
        """Bytes its beginning should be a multiple of (1 for types of less than a byte)."""
        return max(1, DTYPE_BITS[self.dtype] // 8)


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says about itself: its tensors in the order of their bytes, and its free text fields."""

    tensors: tuple[TensorInfo, ...]
    metadata: dict[str, str]


class _DuplicateKeyError(ValueError):
    """A JSON object names one key twice."""


def byte_count(dtype: str, shape: Iterable[int]) -> int:
    """Bytes of a tensor of this type and shape.

    Raises:
        ValueError: The type is unknown, or its values do not fill whole bytes.
    """
    if dtype not in DTYPE_BITS:
        raise ValueError(f"unknown tensor type {dtype!r}; known are {', '.join(DTYPE_BITS)}")
    bits = math.prod(shape) * DTYPE_BITS[dtype]
    if bits % 8:
        raise ValueError(f"values of type {dtype} that fill {bits} bits are no whole number of bytes")
    return bits // 8


def read_header(path: Path, name: str) -> Header:
    """Read and check the header of one safetensors file.

    Args:
        path: The file.
        name: Its name inside the model directory, kept in every `TensorInfo`.

    Returns:
        The checked header.

    Raises:
        InputError: The file is truncated, corrupt, inconsistent or too large to be true; the message names
            the file and the field.
    """
    with reading(path) as descriptor:
        size = os.fstat(descriptor).st_size
        if size < 8:
            raise InputError(f"{path}: {size} bytes are too few for a safetensors file. {_AGAIN}")
        prefix = memoryview(bytearray(8))
        read_into(descriptor, prefix, 0, path)
        length = int.from_bytes(prefix, "little")
        if length > MAX_HEADER_BYTES:
            raise InputError(
                f"{path}: header length {length} is over the limit of {MAX_HEADER_BYTES} bytes: not a "
                f"safetensors file, or a corrupt one. {_AGAIN}"
            )
        if 8 + length > size:
            raise InputError(
                f"{path}: header length {length} reaches beyond the file's {size} bytes: it is truncated. "
                f"{_AGAIN}"
            )
        raw = memoryview(bytearray(length))
        read_into(descriptor, raw, 8, path)
    return _check(_parse(bytes(raw), path), path, name, 8 + length, size)


def encode_header(
    tensors: Iterable[tuple[str, str, tuple[int, ...], int]], metadata: Mapping[str, str]
) -> bytes:
    """Write the header of tensors that lie one after another.

    Args:
        tensors: Name, type, shape and bytes of each, in the order of their data.
        metadata: Free text fields, left out when empty.

    Returns:
        Length and JSON, padded with blanks to a multiple of eight bytes as the library does.
    """
    document: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name, dtype, shape, nbytes in tensors:
        document[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + nbytes]}
        offset += nbytes
    # A lone surrogate cannot be UTF-8, but its escape is what JSON would have written.
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise _DuplicateKeyError(Counter(key for key, _ in pairs).most_common(1)[0][0])
    return result


def _parse(raw: bytes, path: Path) -> dict[str, Any]:
    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    except _DuplicateKeyError as error:
        raise InputError(f"{path}: the header names '{error}' twice. {_AGAIN}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: the header is not JSON ({error}): not a safetensors file. {_AGAIN}"
        ) from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: the header is a JSON {type(document).__name__}, not an object. {_AGAIN}")
    return document


def _check(document: dict[str, Any], path: Path, file: str, start: int, size: int) -> Header:
    metadata = document.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InputError(f"{path}: '__metadata__' must map names to strings. {_AGAIN}")
    tensors = [_tensor(name, entry, path, file, start, size) for name, entry in document.items()]
    tensors.sort(key=lambda info: (info.begin, info.end))
    position, before = start, "the header"
    for info in tensors:
        if info.begin != position:
            fault = "overlaps" if info.begin < position else "leaves a hole after"
            raise InputError(
                f"{path}: tensor '{info.name}' begins at byte {info.begin} and {fault} {before}, which ends "
                f"at byte {position}. {_AGAIN}"
            )
        position, before = info.end, f"'{info.name}'"
    if position != size:
        raise InputError(
            f"{path}: the tensors end at byte {position}, the file at byte {size}: {size - position} bytes "
            f"that belong to nothing. {_AGAIN}"
        )
    return Header(tuple(tensors), metadata)


def _tensor(name: str, entry: object, path: Path, file: str, start: int, size: int) -> TensorInfo:
    where = f"{path}: tensor '{name}'"
    if not isinstance(entry, dict) or not _FIELDS <= entry.keys():
        raise InputError(f"{where}: must be an object with dtype, shape and data_offsets. {_AGAIN}")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise InputError(f"{where}: dtype {dtype!r} is not one of {', '.join(DTYPE_BITS)}. {_AGAIN}")
    if not isinstance(shape, list) or not all(_is_count(length) for length in shape):
        raise InputError(f"{where}: shape {_short(shape)} must be a list of non-negative integers. {_AGAIN}")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_count(offset) for offset in offsets):
        raise InputError(
            f"{where}: data_offsets {_short(offsets)} must be two non-negative integers. {_AGAIN}"
        )
    begin, end = start + offsets[0], start + offsets[1]
    if begin > end or end > size:
        raise InputError(
            f"{where}: data_offsets {_short(offsets)} reach beyond the {size - start} bytes of data in the "
            f"file: it is truncated or corrupt. {_AGAIN}"
        )
    try:
        expected = byte_count(dtype, shape)
    except ValueError as error:
        raise InputError(f"{where}: {error}. {_AGAIN}") from error
    if end - begin != expected:
        raise InputError(
            f"{where}: data_offsets span {end - begin} bytes, but shape {_short(shape)} of {dtype} needs "
            f"{expected}. {_AGAIN}"
        )
    return TensorInfo(name, dtype, tuple(shape), file, begin, end)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
