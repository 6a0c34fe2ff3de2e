"""Differences in files: one safetensors file each, its metadata as JSON in the header.

A tensor T of the base model has I64 ``indices/T`` and F64 ``values/T``; where entries are pinned also I64 ``pinned/T``
and ``results/T`` of T's own type. A tensor that is kept whole is ``dense/T``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from polycompress.distill.sft.diff import BaseTensor, Entries, SparseDiff
from polycompress.distill.sft.information import SftHeader, encode_information, faulty, read_information
from polycompress.distill.sft.layout import layout_faults, names_of
from polycompress.distill.sft.values import FLOATS, Raw, RawTensor, to_float64
from polycompress.errors import InputError
from polycompress.modeldir.atomic import atomic_file
from polycompress.modeldir.header import DTYPE_BITS, TensorInfo, encode_header, read_header
from polycompress.modeldir.paths import safe_file
from polycompress.modeldir.rawio import read_into, reading
from polycompress.modeldir.tensors import Checkpoint, read_tensor

MAX_FILE_BYTES: Final = 1 << 36
"""Many times an exact difference of the largest model that this tool is for."""
FORMAT: Final = "polycompress-sft"
_BLOCK_BYTES: Final = 1 << 20
_MAKE: Final = "polycompress sft diff A B --out FILE"


@dataclass(frozen=True, slots=True)
class DiffFile:
    """A file of a difference whose header is read and checked, its values not yet."""

    path: Path
    header: SftHeader
    checkpoint: Checkpoint

    def names(self, part: str) -> tuple[str, ...]:
        """Names of the base model's tensors that have this part, sorted; ``indices``: all that are sparse."""
        return names_of(self.checkpoint.tensors, part)

    def info(self, part: str, name: str) -> TensorInfo:
        """Where a part of a tensor lies."""
        return self.checkpoint.tensors[f"{part}/{name}"]


def base_of(checkpoint: Checkpoint) -> dict[str, BaseTensor]:
    """Type, shape and SHA-256 of every tensor of a checkpoint; read in blocks of a megabyte.

    Raises:
        InputError: A file was truncated meanwhile.
    """
    return {
        name: BaseTensor(info.dtype, info.shape, _sha256(checkpoint, info))
        for name, info in checkpoint.tensors.items()
    }


def save_diff(path: Path, diff: SparseDiff) -> None:
    """Write a difference; the file appears whole or not at all, and replaces an existing one.

    Raises:
        InputError: It does not know its base model, or sets fields of a configuration that it must not.
        StorageError: The disk refused.
    """
    strangers = sorted(diff.tensors.keys() - diff.info.base.keys())
    if strangers or not diff.info.base:
        raise InputError(
            f"{path}: the difference does not know the tensors of its base model{_listed(strangers)}. Take them from "
            "its checkpoint with base_of."
        )
    raw: dict[str, tuple[str, tuple[int, ...], Raw]] = {}
    for name, entries in sorted(diff.tensors.items()):
        raw[f"indices/{name}"] = ("I64", entries.indices.shape, entries.indices.astype("<i8", copy=False))
        raw[f"values/{name}"] = ("F64", entries.values.shape, entries.values.astype("<f8", copy=False))
        if len(entries.pinned):
            raw[f"pinned/{name}"] = ("I64", entries.pinned.shape, entries.pinned.astype("<i8", copy=False))
            raw[f"results/{name}"] = (diff.info.base[name].dtype, entries.results.shape, entries.results)
    for name, tensor in sorted(diff.dense.items()):
        raw[f"dense/{name}"] = (tensor.dtype, tensor.shape, tensor.flat)
    order = sorted(
        raw, key=lambda name: -DTYPE_BITS[raw[name][0]]
    )  # wider types first keeps all of them aligned
    header = encode_header(
        [(name, *raw[name][:2], raw[name][2].nbytes) for name in order],
        {"format": FORMAT, "sft": encode_information(diff)},
    )
    with atomic_file(path) as file:
        file.write(header)
        for name in order:
            file.write(np.ascontiguousarray(raw[name][2]).reshape(-1).view(np.uint8).data)


def open_diff(path: Path) -> DiffFile:
    """Read and check everything but the values of a difference's file.

    Args:
        path: The file, which may come from anywhere.

    Raises:
        InputError: It is missing, too large, damaged, no difference, of a later schema, or inconsistent; of faults in
            the layout all are named.
    """
    real = path.resolve()
    if not real.exists():
        raise InputError(f"{path}: no such file. Check the name, or make one with: {_MAKE}")
    if real.is_dir():
        raise InputError(
            f"{path}: is not a regular file but a directory. Name the file, such as {path / 'task.diff'}"
        )
    if real.is_file() and (size := real.stat().st_size) > MAX_FILE_BYTES:
        raise InputError(
            f"{path}: {size} bytes, over the limit of {MAX_FILE_BYTES}. Is it a sparse difference?"
        )
    header = read_header(real, real.name)
    if header.metadata.get("format") != FORMAT:
        raise InputError(f"{path}: is a safetensors file, but no sparse difference. Make one with: {_MAKE}")
    information = read_information(header.metadata.get("sft", ""), path)
    tensors = {info.name: info for info in header.tensors}
    faults = layout_faults(tensors, information.info.base, information.k)
    if faults:
        raise faulty(path, faults)
    return DiffFile(path, information, Checkpoint(real.parent, (real.name,), tensors, None, {}))


def load_diff(file: DiffFile | Path) -> SparseDiff:
    """Read a difference whole, and check every value.

    Args:
        file: What ``open_diff`` gave, or a path.

    Raises:
        InputError: See ``open_diff``; or indices do not increase or lie outside of their tensor, or values are no
            finite numbers.
    """
    found = open_diff(file) if isinstance(file, Path) else file
    base = found.header.info.base
    tensors = {name: _entries(found, name) for name in found.names("indices")}
    faults = [
        f"tensor '{name}': {fault}"
        for name, entries in tensors.items()
        if (fault := _entry_fault(entries, base[name]))
    ]
    if faults:
        raise faulty(found.path, faults)
    dense = {
        name: RawTensor(found.info("dense", name).dtype, _read(found, "dense", name))
        for name in found.names("dense")
    }
    return SparseDiff(tensors, dense, found.header.info)


def _entries(found: DiffFile, name: str) -> Entries:
    indices, values = _read(found, "indices", name), _read(found, "values", name)
    if name in found.names("pinned"):
        return Entries(indices, values, _read(found, "pinned", name), _read(found, "results", name))
    nothing = np.zeros(0, FLOATS[found.header.info.base[name].dtype])
    return Entries(indices, values, np.zeros(0, np.int64), nothing)


def _entry_fault(entries: Entries, base: BaseTensor) -> str:
    lists = (("indices", entries.indices, base.size), ("pinned", entries.pinned, len(entries.indices)))
    for what, places, end in lists:
        if len(places) and (np.any(places[1:] <= places[:-1]) or places[0] < 0 or places[-1] >= end):
            return f"{what} must increase and lie in 0 to {end - 1}"
    if not np.isfinite(entries.values).all():
        return "a value is no finite number"
    if not np.isfinite(to_float64(entries.results, base.dtype)).all():
        return "a result is no finite number"
    return ""


def _read(found: DiffFile, part: str, name: str) -> Raw:
    return read_tensor(found.checkpoint, f"{part}/{name}")


def _listed(names: list[str]) -> str:
    return f" ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})" if names else ""


def _sha256(checkpoint: Checkpoint, info: TensorInfo) -> str:
    path = safe_file(checkpoint.root, info.file)
    found = hashlib.sha256()
    buffer = memoryview(bytearray(min(_BLOCK_BYTES, info.nbytes)))
    with reading(path) as descriptor:
        for start in range(0, info.nbytes, _BLOCK_BYTES):
            view = buffer[: min(_BLOCK_BYTES, info.nbytes - start)]
            read_into(descriptor, view, info.begin + start, path)
            found.update(view)
    return found.hexdigest()
