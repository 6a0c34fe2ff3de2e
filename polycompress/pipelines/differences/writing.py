"""Write a model with a sparse difference added: tensors one at a time, files in which nothing changes copied."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from polycompress.distill.sft import RawTensor, SparseDiff, make_patch
from polycompress.modeldir.directory import copied_files, read_json, safe_file, stale_files
from polycompress.modeldir.header import TensorInfo
from polycompress.modeldir.rawio import Progress, copy_file, read_into, reading
from polycompress.modeldir.tensors import INDEX_FILE, Checkpoint, read_tensor, write_tensors
from polycompress.modeldir.writing import BytesLike

_BLOCK_BYTES: Final = 1 << 20
_TOKENIZER: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
)

Entry = tuple[str, tuple[int, ...], BytesLike | Iterator[BytesLike]]


def write_weights(
    base: Checkpoint, diff: SparseDiff, out: Path, *, progress: Progress | None = None
) -> dict[str, int]:
    """Write the checkpoint of a base model with a difference added.

    Files keep their names; what the difference adds goes into the last one. Memory is needed for one tensor at a time.

    Args:
        base: The checkpoint, whose hashes fit.
        diff: What is added.
        out: An existing directory that holds none of the files yet.
        progress: Told the number of bytes written, step by step.

    Returns:
        ``parameters`` and ``bytes`` of all tensors.

    Raises:
        InputError: A sum is larger than its type holds, or the source was truncated meanwhile.
    """
    added = diff.dense.keys() - base.tensors.keys()
    touched = {*diff.tensors, *diff.dense, *diff.info.dropped}
    places: dict[str, str] = {}
    parameters = nbytes = 0
    for file in base.files:
        infos = [
            info for info in base.tensors.values() if info.file == file and info.name not in diff.info.dropped
        ]
        entries = {diff.info.prefix + info.name: _entry(base, info, diff) for info in infos}
        if file == base.files[-1]:
            entries |= {name: _whole(diff.dense[name]) for name in sorted(added)}
        changed = diff.info.prefix or len(entries) > len(infos)
        if not changed and not any(
            info.name in touched for info in base.tensors.values() if info.file == file
        ):
            copy_file(safe_file(base.root, file), out / file, progress)
        elif entries or base.index is None:
            told = {name: (*entry[:2], _told(entry[2], progress)) for name, entry in entries.items()}
            write_tensors(out / file, told, base.metadata[file])
        places |= dict.fromkeys(entries, file)
        parameters += sum(math.prod(shape) for _, shape, _ in entries.values())
        nbytes += sum(info.nbytes for info in infos if info.name not in diff.dense)
    nbytes += sum(
        tensor.values.nbytes for name, tensor in diff.dense.items() if name not in diff.info.dropped
    )
    if base.index is not None:
        _write_index(base.index, out / INDEX_FILE, places, parameters, nbytes)
    return {"parameters": parameters, "bytes": nbytes}


def write_others(root: Path, diff: SparseDiff, out: Path) -> list[str]:
    """Copy the source's tokenizer and other files, and write its configuration with the head's fields.

    Returns:
        Names of the files that were copied.
    """
    if diff.info.config:
        config = {**(read_json(root, "config.json") or {}), **diff.info.config}
        (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    else:
        copy_file(safe_file(root, "config.json"), out / "config.json")
    names = [name for name in _TOKENIZER if safe_file(root, name).is_file()]
    # The vocabulary stays, so the files beside tokenizer.json that go stale where it is cut are still true.
    names = list(dict.fromkeys([*names, *stale_files(root), *copied_files(root)]))
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        copy_file(safe_file(root, name), out / name)
    return names


def _entry(base: Checkpoint, info: TensorInfo, diff: SparseDiff) -> Entry:
    """Type, shape and data of a tensor of the base in the result; the data is made when it is asked for."""
    if info.name in diff.dense:
        return _whole(diff.dense[info.name])
    if info.name in diff.tensors:
        return info.dtype, info.shape, _patched(base, info, diff)
    return info.dtype, info.shape, _blocks(base, info)


def _whole(tensor: RawTensor) -> Entry:
    return tensor.dtype, tensor.shape, tensor.flat


def _patched(base: Checkpoint, info: TensorInfo, diff: SparseDiff) -> Iterator[BytesLike]:
    tensor = RawTensor(info.dtype, read_tensor(base, info.name))
    yield make_patch(info.name, tensor, diff.tensors[info.name]).put(tensor).flat


def _blocks(base: Checkpoint, info: TensorInfo) -> Iterator[BytesLike]:
    path = safe_file(base.root, info.file)
    with reading(path) as descriptor:
        for start in range(0, info.nbytes, _BLOCK_BYTES):
            block = bytearray(min(_BLOCK_BYTES, info.nbytes - start))
            read_into(descriptor, memoryview(block), info.begin + start, path)
            yield block


def _told(data: BytesLike | Iterator[BytesLike], progress: Progress | None) -> Iterator[BytesLike]:
    """The same pieces, reported as they are asked for."""
    for piece in data if isinstance(data, Iterator) else (data,):
        if progress is not None:
            progress(piece.nbytes if isinstance(piece, np.ndarray | memoryview) else len(piece))
        yield piece


def _write_index(
    index: Mapping[str, Any], path: Path, places: Mapping[str, str], parameters: int, nbytes: int
) -> None:
    metadata = {**index.get("metadata", {}), "total_size": nbytes}
    if "total_parameters" in metadata:
        metadata["total_parameters"] = parameters
    document = {**index, "metadata": metadata, "weight_map": dict(sorted(places.items()))}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
