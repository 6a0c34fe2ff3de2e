"""The manifest `polycompress.json`: what was done to a model, from what, with which result."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.modeldir.paths import read_json
from polycompress.modeldir.rawio import creating, write_all

MANIFEST_FILE: Final = "polycompress.json"

SCHEMA: Final = 1
"""Version of the manifest's layout. A later layout is refused, never guessed at."""

MAX_IDS: Final = 1 << 24
"""Most ids a packed list may stand for: many times the largest vocabulary there is."""

_TYPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    "tool": dict,
    "command": list,
    "config": dict,
    "source": dict,
    "languages": list,
    "sizes": dict,
    "kept_by": dict,
    "pad_rows": int,
    "tensors": list,
    "certificate": (dict, type(None)),
    "not_copied": list,
    "notes": list,
}


def write_manifest(out: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest of a model directory.

    Args:
        out: The model directory, which has no manifest yet.
        manifest: The facts. numpy numbers and arrays, paths, tuples and sets are turned into JSON; numbers
            that JSON does not have (NaN, infinities) become null; "schema" is added.

    Raises:
        ValueError: It names another schema than `SCHEMA`.
        TypeError: A value has no meaning in JSON.
    """
    document = {"schema": SCHEMA, **manifest}
    if document["schema"] != SCHEMA:
        raise ValueError(f"this version writes manifests of schema {SCHEMA}, not {document['schema']!r}")
    text = _lay_out(_plain(document), "") + "\n"
    with creating(out / MANIFEST_FILE) as descriptor:
        # A path that is not UTF-8 holds lone surrogates; their escapes are valid JSON.
        write_all(descriptor, text.encode("utf-8", "backslashreplace"))


def read_manifest(root: Path) -> dict[str, Any] | None:
    """Read the manifest of a model directory.

    Args:
        root: The model directory.

    Returns:
        The manifest, or None where there is none.

    Raises:
        InputError: It is not JSON, of a later schema, or a field has the wrong type.
    """
    manifest = read_json(root, MANIFEST_FILE, required=False)
    if manifest is None:
        return None
    where = f"{root / MANIFEST_FILE}"
    schema = manifest.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise InputError(f"{where}: 'schema' is {schema!r}, not a version number. Restore the file.")
    if schema > SCHEMA:
        raise InputError(
            f"{where}: schema {schema} is newer than this version of polycompress reads ({SCHEMA}). Upgrade "
            "with: pip install -U polycompress"
        )
    for field, kind in _TYPES.items():
        if field in manifest and not isinstance(manifest[field], kind):
            found = type(manifest[field]).__name__
            raise InputError(f"{where}: '{field}' is of type {found}. Restore the file.")
    if not 0 <= manifest.get("pad_rows", 0) <= MAX_IDS:
        raise InputError(
            f"{where}: 'pad_rows' is {manifest['pad_rows']}, no number of rows. Restore the file."
        )
    if "kept_ids" in manifest:
        try:
            unpack_ids(manifest["kept_ids"])
        except InputError as error:
            raise InputError(f"{where}: 'kept_ids': {error}") from error
    return manifest


def pack_ids(ids: NDArray[np.integer[Any]]) -> list[list[int]]:
    """Write increasing ids as runs.

    Args:
        ids: Strictly increasing, not negative, shape (K,).

    Returns:
        `[start, length]` of each run of consecutive ids.

    Raises:
        ValueError: The ids are not strictly increasing, or negative.

    Example:
        >>> pack_ids(np.array([0, 1, 2, 7]))
        [[0, 3], [7, 1]]
    """
    ids = np.asarray(ids, dtype=np.int64)
    if len(ids) == 0:
        return []
    step = np.diff(ids)
    if ids[0] < 0 or np.any(step <= 0):
        raise ValueError("ids must be strictly increasing and not negative")
    first = np.concatenate([[0], np.flatnonzero(step != 1) + 1])
    lengths = np.diff(np.concatenate([first, [len(ids)]]))
    return np.stack([ids[first], lengths], axis=1).tolist()  # type: ignore[no-any-return]


def unpack_ids(packed: object) -> NDArray[np.int64]:
    """Undo `pack_ids`.

    Args:
        packed: Runs as `[start, length]`, from an untrusted file.

    Returns:
        The ids, strictly increasing, shape (K,), int64.

    Raises:
        InputError: It is no list of runs, they overlap or are out of order, or stand for more than `MAX_IDS`
            ids.
    """
    if not isinstance(packed, list) or not all(_is_run(run) for run in packed):
        raise InputError("must be a list of runs [start, length] of whole numbers. Restore the file.")
    if not packed:
        return np.zeros(0, np.int64)
    total = sum(length for _, length in packed)
    if total > MAX_IDS:
        raise InputError(
            f"stands for {total} ids, more than any vocabulary has ({MAX_IDS}). Restore the file."
        )
    starts, lengths = np.array(packed, dtype=np.int64).T
    if np.any(starts[1:] < (starts + lengths)[:-1]):
        raise InputError("the runs overlap or are out of order. Restore the file.")
    # Each id is its place in the list plus what its run's start is ahead of the run's place.
    ids: NDArray[np.int64] = np.arange(total, dtype=np.int64)
    ids += np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    return ids


def _is_run(run: object) -> bool:
    return (
        isinstance(run, list)
        and len(run) == 2
        and all(isinstance(number, int) and not isinstance(number, bool) for number in run)
        and 0 <= run[0] < 1 << 62
        and 0 < run[1] < 1 << 62
    )


def _plain(value: Any) -> Any:
    """A value in the types that JSON has."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, PurePath):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(_plain(item) for item in value)
    if isinstance(value, list) and all(type(item) is int for item in value):
        return value  # most of a manifest is runs of ids
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    raise TypeError(f"a manifest cannot hold a {type(value).__name__}: {value!r}")


def _lay_out(value: Any, indent: str) -> str:
    """JSON for people: one line for each field and each record, lists of numbers on one line."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        fields = (f"{inner}{_compact(key)}: {_lay_out(item, inner)}" for key, item in value.items())
        return "{\n" + ",\n".join(fields) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return "[\n" + ",\n".join(inner + _compact(item) for item in value) + f"\n{indent}]"
    return _compact(value)


def _compact(value: Any) -> str:
    try:
        return orjson.dumps(value).decode("utf-8")
    except TypeError:  # a path that is not UTF-8, or a number of more than 64 bits
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
