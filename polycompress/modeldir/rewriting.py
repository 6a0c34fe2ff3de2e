"""Write a checkpoint with some tensors exchanged for others, everything else bit by bit the same."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from polycompress.modeldir.checkpoint import INDEX_FILE, Checkpoint
from polycompress.modeldir.directory import copied_files, stale_files
from polycompress.modeldir.header import TensorInfo, byte_count
from polycompress.modeldir.paths import safe_file
from polycompress.modeldir.rawio import Progress, copy_file, read_into, reading
from polycompress.modeldir.writing import BytesLike, WriteReport, write_tensors

Entry = tuple[str, tuple[int, ...], BytesLike | Iterable[BytesLike]]
"""Type, shape and data of a tensor, as ``write_tensors`` takes it."""

_BLOCK_BYTES: Final = 1 << 20
_SETTINGS: Final = ("special_tokens_map.json", "generation_config.json")


def write_exchanged(
    ckpt: Checkpoint,
    out: Path,
    exchanged: Mapping[str, Mapping[str, Entry]],
    *,
    progress: Progress | None = None,
) -> WriteReport:
    """Write a checkpoint in which other tensors stand for some.

    Files keep their names, and what stands for a tensor lies in its file. A file in which nothing changes is copied.
    Memory is needed for what the entries' data take, block by block.

    Args:
        ckpt: The source.
        out: An existing directory that holds none of the files yet.
        exchanged: By name of the source's tensor, what stands for it: other names and their entries, or nothing.
        progress: Told the number of bytes written, step by step.

    Returns:
        What was written; files written anew count as sliced.

    Raises:
        InputError: The source was truncated meanwhile.
        ValueError: A name is unknown, or is taken twice, or data do not fit their shape.
    """
    unknown = sorted(exchanged.keys() - ckpt.tensors.keys())
    if unknown:
        raise ValueError(f"no such tensor in {ckpt.root}: {', '.join(unknown)}")
    places: dict[str, str] = {}
    sizes: dict[str, tuple[str, tuple[int, ...]]] = {}
    written, copied, omitted = [], [], []
    for file in ckpt.files:
        entries: dict[str, Entry] = {}
        changed = False
        for info in ckpt.tensors.values():
            if info.file != file:
                continue
            changed |= info.name in exchanged
            for name, entry in exchanged.get(info.name, {info.name: as_it_is(ckpt, info)}).items():
                if name in places:
                    raise ValueError(f"two tensors of the result are called '{name}'")
                entries[name], places[name], sizes[name] = entry, file, entry[:2]
        if not changed:
            copy_file(safe_file(ckpt.root, file), out / file, progress)
            copied.append(file)
        elif entries or ckpt.index is None:
            told = {name: (*entry[:2], _told(entry[2], progress)) for name, entry in entries.items()}
            write_tensors(out / file, told, ckpt.metadata[file])
            written.append(file)
        else:
            omitted.append(file)
    nbytes = sum(byte_count(*size) for size in sizes.values())
    parameters = sum(math.prod(shape) for _, shape in sizes.values())
    if ckpt.index is not None:
        _write_index(ckpt.index, out / INDEX_FILE, places, nbytes, parameters)
    return WriteReport(tuple(written), tuple(copied), (), tuple(omitted), nbytes, parameters)


def copy_beside(root: Path, out: Path) -> list[str]:
    """Copy what stays true where the vocabulary does: all but weights, configuration and tokenizer.json's pair.

    Returns:
        Names of the files that were copied.
    """
    names = [name for name in _SETTINGS if safe_file(root, name).is_file()]
    names = list(dict.fromkeys([*names, *stale_files(root), *copied_files(root)]))
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        copy_file(safe_file(root, name), out / name)
    return names


def as_it_is(ckpt: Checkpoint, info: TensorInfo) -> Entry:
    """A tensor of the source, read when it is asked for."""
    return info.dtype, info.shape, _blocks(ckpt, info)


def _blocks(ckpt: Checkpoint, info: TensorInfo) -> Iterator[BytesLike]:
    path = safe_file(ckpt.root, info.file)
    with reading(path) as descriptor:
        for start in range(0, info.nbytes, _BLOCK_BYTES):
            block = bytearray(min(_BLOCK_BYTES, info.nbytes - start))
            read_into(descriptor, memoryview(block), info.begin + start, path)
            yield block


def _told(data: BytesLike | Iterable[BytesLike], progress: Progress | None) -> Iterator[BytesLike]:
    """The same pieces as bytes, reported as they are asked for."""
    for piece in (data,) if isinstance(data, bytes | bytearray | memoryview | np.ndarray) else data:
        block = (
            np.ascontiguousarray(piece).reshape(-1).view(np.uint8) if isinstance(piece, np.ndarray) else piece
        )
        if progress is not None:
            progress(block.nbytes if isinstance(block, np.ndarray | memoryview) else len(block))
        yield block


def _write_index(
    index: Mapping[str, Any], path: Path, places: Mapping[str, str], nbytes: int, parameters: int
) -> None:
    metadata = {**index.get("metadata", {}), "total_size": nbytes}
    if "total_parameters" in metadata:
        metadata["total_parameters"] = parameters
    document = {**index, "metadata": metadata, "weight_map": dict(sorted(places.items()))}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
