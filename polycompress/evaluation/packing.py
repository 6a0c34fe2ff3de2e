"""What each example got, as text in a JSON file."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Any, Final, TypeGuard

import numpy as np
from numpy.typing import NDArray

MAX_ROWS: Final = 1 << 24
MAX_COLUMNS: Final = 64
_TYPES: Final[dict[str, np.dtype[Any]]] = {"uint16": np.dtype("<u2"), "float32": np.dtype("<f4")}


def pack_counts(counts: NDArray[Any]) -> dict[str, Any]:
    """Write a table of numbers.

    Args:
        counts: (n, k) uint16 or float32.

    Returns:
        Its type, its sizes, and its bytes, column by column, zlib-compressed, in base 64.

    Raises:
        ValueError: It is of another type or shape.
    """
    if counts.ndim != 2 or counts.dtype.name not in _TYPES:
        raise ValueError(f"a table of uint16 or float32, not {counts.dtype} of shape {counts.shape}")
    raw = np.ascontiguousarray(counts.T, dtype=_TYPES[counts.dtype.name]).tobytes()
    text = base64.b64encode(zlib.compress(raw, 9)).decode("ascii")
    return {"dtype": counts.dtype.name, "rows": counts.shape[0], "columns": counts.shape[1], "data": text}


def unpack_counts(packed: object) -> NDArray[Any]:
    """Undo ``pack_counts``.

    Args:
        packed: From an untrusted file.

    Returns:
        (n, k) numbers.

    Raises:
        ValueError: It is nothing that ``pack_counts`` writes.
    """
    if not isinstance(packed, dict):
        raise ValueError("is no object")
    kind, rows, columns, data = (packed.get(name) for name in ("dtype", "rows", "columns", "data"))
    if not isinstance(kind, str) or kind not in _TYPES or not isinstance(data, str):
        raise ValueError(f"'dtype' must be one of {', '.join(_TYPES)}, and 'data' text")
    if not _is_size(rows, MAX_ROWS) or not _is_size(columns, MAX_COLUMNS):
        raise ValueError(f"'rows' is {rows!r} and 'columns' {columns!r}, no sizes of a table")
    size = rows * columns * _TYPES[kind].itemsize
    try:
        packer = zlib.decompressobj()
        raw = packer.decompress(base64.b64decode(data, validate=True), size + 1)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise ValueError(f"'data' is damaged ({error})") from error
    if len(raw) != size:
        raise ValueError(f"'data' holds {len(raw)} bytes or more where {size} were announced")
    table: NDArray[Any] = np.frombuffer(raw, dtype=_TYPES[kind]).reshape(columns, rows).T.astype(kind)
    return table


def _is_size(value: object, most: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most
