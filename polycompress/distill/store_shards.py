"""One file of a store of a teacher's outputs: safetensors, written once, read by text.

A shard holds ``keys`` (N, 32) bytes, ``lengths`` (N,) rows of each text, and for each field the rows of all texts one
after another. Its header says whose outputs of what kind they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.distill.store_kinds import DTYPES, Kind, check_values
from polycompress.errors import InputError
from polycompress.modeldir.atomic import atomic_file
from polycompress.modeldir.header import Header, TensorInfo, encode_header, read_header
from polycompress.modeldir.rawio import read_into, reading

KEY_BYTES: Final = 32
MAX_SHARD_BYTES: Final = 1 << 31
"""Larger ones are neither written nor read."""
MAX_TEXTS: Final = 1 << 20
"""In one shard."""
_AGAIN: Final = "Remove the file: its texts will be computed again."


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """One that was opened and whose header makes sense."""

    path: Path
    keys: NDArray[np.uint8]
    """(N, 32)"""
    ends: NDArray[np.int64]
    """(N + 1,) the rows of text i are those from ``ends[i]`` to ``ends[i + 1]``."""
    begins: Mapping[str, int]
    """The first byte of each field's data."""


def write_shard(
    path: Path,
    kind: Kind,
    identity: Mapping[str, str],
    keys: Sequence[bytes],
    rows: Mapping[str, Sequence[NDArray[Any]]],
) -> None:
    """Write a shard; it appears whole or not at all.

    Args:
        path: The file to be.
        kind: What is kept.
        identity: Whose outputs they are, for the header.
        keys: Of each text.
        rows: For each field, (rows, ...) of each text in the field's type.

    Raises:
        InputError: There are more texts or bytes than a shard may have.
        StorageError: The disk refused.
    """
    lengths = np.array([len(each) for each in next(iter(rows.values()))], dtype="<i8")
    total = int(lengths.sum())
    nbytes = total * sum(field.row_bytes for field in kind.fields.values())
    if len(keys) > MAX_TEXTS or nbytes > MAX_SHARD_BYTES - MAX_TEXTS * (KEY_BYTES + 16):
        raise InputError(
            f"{path}: {len(keys)} texts of {nbytes} bytes are more than a shard holds ({MAX_TEXTS} texts, about "
            f"{MAX_SHARD_BYTES >> 30} GiB). Put fewer at a time."
        )
    entries = [
        ("lengths", "I64", (len(keys),), lengths.nbytes),
        ("keys", "U8", (len(keys), KEY_BYTES), KEY_BYTES * len(keys)),
    ]
    entries += [
        (name, field.dtype, (total, *field.shape), total * field.row_bytes)
        for name, field in kind.fields.items()
    ]
    with atomic_file(path) as file:
        file.write(encode_header(entries, identity))
        for name, *_ in entries:
            pieces = {"lengths": [lengths.tobytes()], "keys": keys}.get(name)
            for piece in pieces if pieces is not None else (each.tobytes() for each in rows[name]):
                file.write(piece)


def open_shard(path: Path, kind: Kind, identity: Mapping[str, str]) -> Shard:
    """Check a shard's header, and read which texts it holds.

    Raises:
        InputError: It is damaged, too large to be true, or belongs to another store.
    """
    if path.is_symlink():
        raise InputError(f"{path}: is a link. Put the file itself there, or remove it.")
    header = _read_header(path)
    if header.metadata != dict(identity):
        named = ", ".join(f"{name} {value}" for name, value in sorted(header.metadata.items()))
        raise InputError(
            f"{path}: was not written to this store (it says: {named or 'nothing'}). Remove the file."
        )
    tensors = {info.name: info for info in header.tensors}
    _check_tensors(path, kind, tensors)
    keys = _read(path, tensors["keys"], np.dtype(np.uint8))
    lengths = _read(path, tensors["lengths"], np.dtype("<i8")).astype(np.int64)
    most = max((info.shape[0] for name, info in tensors.items() if name in kind.fields), default=0)
    if len(lengths) and not (0 <= int(lengths.min()) and int(lengths.max()) <= most):
        raise InputError(f"{path}: 'lengths' holds numbers of rows outside 0 to {most}. {_AGAIN}")
    if not kind.per_token and (lengths != 1).any():
        raise InputError(f"{path}: 'lengths' are not 1 each, though a text has one value. {_AGAIN}")
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    for name in kind.fields:
        if tensors[name].shape[0] != ends[-1]:
            raise InputError(
                f"{path}: '{name}' has {tensors[name].shape[0]} rows, but the texts have {ends[-1]}. {_AGAIN}"
            )
    return Shard(path, keys, ends, {name: tensors[name].begin for name in kind.fields})


def read_texts(shard: Shard, kind: Kind, texts: Sequence[int]) -> list[dict[str, NDArray[Any]]]:
    """What is kept of some texts.

    Args:
        shard: Where.
        kind: What.
        texts: Their numbers in the shard.

    Returns:
        For each text its fields, as they were put.

    Raises:
        InputError: The file has changed since it was opened, or values cannot be true.
    """
    found = []
    with reading(shard.path) as descriptor:
        for text in texts:
            first, last = int(shard.ends[text]), int(shard.ends[text + 1])
            values: dict[str, NDArray[Any]] = {}
            for name, field in kind.fields.items():
                array = np.empty((last - first, *field.shape), dtype=DTYPES[field.dtype])
                if array.nbytes:
                    offset = shard.begins[name] + first * field.row_bytes
                    read_into(descriptor, array.reshape(-1).view(np.uint8).data, offset, shard.path)
                check_values(kind, name, array, f"{shard.path}: text {text}")
                values[name] = array if kind.per_token else array[0]
            found.append(values)
    return found


def _read_header(path: Path) -> Header:
    size = path.stat().st_size
    if size > MAX_SHARD_BYTES:
        raise InputError(
            f"{path}: {size} bytes are over the limit of {MAX_SHARD_BYTES} for a shard. {_AGAIN}"
        )
    try:
        return read_header(path, path.name)
    except InputError as error:
        raise InputError(f"{error} Or remove it: its texts will be computed again.") from error


def _check_tensors(path: Path, kind: Kind, tensors: Mapping[str, TensorInfo]) -> None:
    wanted = {"keys", "lengths", *kind.fields}
    if tensors.keys() != wanted:
        raise InputError(f"{path}: holds the tensors {sorted(tensors)}, not {sorted(wanted)}. {_AGAIN}")
    texts = tensors["keys"].shape[0] if tensors["keys"].shape else -1
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {"keys": ("U8", (KEY_BYTES,)), "lengths": ("I64", ())}
    shapes |= {name: (field.dtype, field.shape) for name, field in kind.fields.items()}
    for name, (dtype, shape) in shapes.items():
        info = tensors[name]
        if info.dtype != dtype or not info.shape or info.shape[1:] != shape:
            raise InputError(
                f"{path}: '{name}' is {info.dtype} of shape {list(info.shape)}, not {dtype} of shape "
                f"[..., {', '.join(map(str, shape))}]. {_AGAIN}"
            )
    if not 0 <= texts <= MAX_TEXTS or tensors["lengths"].shape != (texts,):
        raise InputError(
            f"{path}: {texts} keys and lengths of shape {list(tensors['lengths'].shape)}; at most {MAX_TEXTS} texts, "
            f"with one length each, can be true. {_AGAIN}"
        )


def _read(path: Path, info: TensorInfo, dtype: np.dtype[Any]) -> NDArray[Any]:
    array = np.empty(info.shape, dtype=dtype)
    if array.nbytes:
        with reading(path) as descriptor:
            read_into(descriptor, array.reshape(-1).view(np.uint8).data, info.begin, path)
    return array
