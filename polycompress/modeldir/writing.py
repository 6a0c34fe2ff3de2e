"""Writing checkpoints: sliced from another one, or tensor by tensor from memory."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycompress.modeldir.checkpoint import INDEX_FILE, Checkpoint
from polycompress.modeldir.header import TensorInfo, byte_count, encode_header
from polycompress.modeldir.paths import safe_file
from polycompress.modeldir.rawio import (
    Progress,
    copy_file,
    copy_range,
    creating,
    link_file,
    reading,
    write_all,
)
from polycompress.modeldir.slices import RowSlice, row_layout, sliced_blocks, sliced_shape

BytesLike = bytes | bytearray | memoryview | NDArray[Any]


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What was written.

    Attributes:
        sliced: Files written anew because a tensor in them changed.
        copied: Files copied whole.
        linked: Files hard-linked.
        omitted: Files left out because every tensor in them was dropped.
        nbytes: Bytes of all tensors of the result.
        parameters: Values of all tensors of the result.
    """

    sliced: tuple[str, ...]
    copied: tuple[str, ...]
    linked: tuple[str, ...]
    omitted: tuple[str, ...]
    nbytes: int
    parameters: int


def write_sliced(
    ckpt: Checkpoint,
    out: Path,
    slices: Mapping[str, RowSlice],
    *,
    drop: Collection[str] = (),
    link: bool = False,
    progress: Progress | None = None,
) -> WriteReport:
    """Write a checkpoint with some of its tensors cut to chosen rows, everything else bit by bit the same.

    Files keep their names. One in which nothing changes is copied whole (or linked); in the others tensors
    keep their order, unless that would leave one at a place its type is not aligned to.

    Args:
        ckpt: The source.
        out: An existing directory that holds none of the files yet.
        slices: Rows to keep, by name of the tensor.
        drop: Tensors to leave out.
        link: Hard-link unchanged files where the file system can.
        progress: Told the number of bytes written, step by step.

    Returns:
        What was written.

    Raises:
        InputError: The source was truncated meanwhile, or a tensor's type cannot be sliced or padded.
        ValueError: A name is unknown, or a slice does not fit its tensor.
    """
    unknown = sorted({*slices, *drop} - ckpt.tensors.keys())
    if unknown:
        raise ValueError(f"no such tensor in {ckpt.root}: {', '.join(unknown)}")
    changed = {ckpt.tensors[name].file for name in (*slices, *drop)}
    sliced, copied, linked, omitted = [], [], [], []
    for file in ckpt.files:
        tensors = [info for info in ckpt.tensors.values() if info.file == file and info.name not in drop]
        source = safe_file(ckpt.root, file)
        if file not in changed:
            if link and link_file(source, out / file):
                linked.append(file)
            else:
                copy_file(source, out / file, progress)
                copied.append(file)
        elif tensors or ckpt.index is None:
            _write_file(ckpt, source, out / file, tensors, slices, progress)
            sliced.append(file)
        else:
            omitted.append(file)
    shapes = {info.name: _new_shape(info, slices) for info in ckpt.tensors.values() if info.name not in drop}
    nbytes = sum(_new_bytes(ckpt.tensors[name], slices) for name in shapes)
    parameters = sum(math.prod(shape) for shape in shapes.values())
    if ckpt.index is not None:
        _write_index(ckpt.index, out / INDEX_FILE, drop, nbytes, parameters)
    return WriteReport(tuple(sliced), tuple(copied), tuple(linked), tuple(omitted), nbytes, parameters)


def write_tensors(
    path: Path,
    tensors: Mapping[str, tuple[str, tuple[int, ...], BytesLike | Iterable[BytesLike]]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a new safetensors file, streaming.

    Args:
        path: A file that does not exist yet.
        tensors: Type, shape and data of each tensor; the data is one piece of memory or pieces one after
            another.
        metadata: Free text fields of the header. transformers wants {"format": "pt"}.

    Raises:
        ValueError: Data and shape do not agree, or the type is unknown.
    """
    sizes = {name: byte_count(dtype, shape) for name, (dtype, shape, _) in tensors.items()}
    # Wider types first keeps every tensor aligned, as the safetensors library does.
    order = sorted(tensors, key=lambda name: -TensorInfo(name, *tensors[name][:2], path.name, 0, 0).alignment)
    with creating(path) as target:
        write_all(
            target, encode_header([(name, *tensors[name][:2], sizes[name]) for name in order], metadata or {})
        )
        for name in order:
            written = 0
            for piece in _pieces(tensors[name][2]):
                write_all(target, piece)
                written += len(piece)
            if written != sizes[name]:
                raise ValueError(
                    f"tensor '{name}': {written} bytes of data for a shape of {sizes[name]} bytes"
                )


def _pieces(data: BytesLike | Iterable[BytesLike]) -> Iterator[memoryview]:
    """Views of the data's bytes, piece by piece."""
    if isinstance(data, (bytes, bytearray, memoryview, np.ndarray)):
        data = (data,)
    for piece in data:
        if isinstance(piece, np.ndarray):
            yield np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data
        else:
            yield memoryview(piece).cast("B")


def _new_shape(info: TensorInfo, slices: Mapping[str, RowSlice]) -> tuple[int, ...]:
    return sliced_shape(info, slices[info.name]) if info.name in slices else info.shape


def _new_bytes(info: TensorInfo, slices: Mapping[str, RowSlice]) -> int:
    if info.name not in slices:
        return info.nbytes
    layout = row_layout(info, slices[info.name])
    return layout.outer * slices[info.name].rows * layout.row_bytes


def _write_file(
    ckpt: Checkpoint,
    source: Path,
    target: Path,
    tensors: list[TensorInfo],
    slices: Mapping[str, RowSlice],
    progress: Progress | None,
) -> None:
    """Write one file: its header, then sliced tensors row by row and stretches of unchanged ones whole."""
    ordered = _aligned(tensors, slices)
    entries = [
        (info.name, info.dtype, _new_shape(info, slices), _new_bytes(info, slices)) for info in ordered
    ]
    with reading(source) as reader, creating(target) as writer:
        write_all(writer, encode_header(entries, ckpt.metadata[source.name]))
        waiting: tuple[int, int] | None = None  # an unchanged stretch of the source, not written yet
        for info in ordered:
            if info.name not in slices:
                if waiting is not None and waiting[1] == info.begin:
                    waiting = (waiting[0], info.end)
                    continue
                _copy_stretch(reader, writer, waiting, source, progress)
                waiting = (info.begin, info.end)
                continue
            _copy_stretch(reader, writer, waiting, source, progress)
            waiting = None
            for block in sliced_blocks(reader, ckpt, info.name, slices[info.name]):
                write_all(writer, block)
                if progress is not None:
                    progress(len(block))
        _copy_stretch(reader, writer, waiting, source, progress)


def _copy_stretch(
    reader: int, writer: int, stretch: tuple[int, int] | None, source: Path, progress: Progress | None
) -> None:
    if stretch is not None:
        copy_range(reader, writer, stretch[0], stretch[1] - stretch[0], source, progress)


def _aligned(tensors: list[TensorInfo], slices: Mapping[str, RowSlice]) -> list[TensorInfo]:
    """The source's order, or wider types first where a cut table would put a tensor out of alignment."""
    offset = 0
    for info in tensors:
        if offset % info.alignment:
            return sorted(tensors, key=lambda each: -each.alignment)
        offset += _new_bytes(info, slices)
    return tensors


def _write_index(
    index: dict[str, Any], path: Path, drop: Collection[str], nbytes: int, parameters: int
) -> None:
    metadata = {**index.get("metadata", {}), "total_size": nbytes}
    if "total_parameters" in metadata:
        metadata["total_parameters"] = parameters
    weight_map = {name: file for name, file in index["weight_map"].items() if name not in drop}
    document = {**index, "metadata": metadata, "weight_map": weight_map}
    with creating(path) as target:
        write_all(target, (json.dumps(document, indent=2, ensure_ascii=True) + "\n").encode())
