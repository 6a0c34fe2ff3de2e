"""Write a model with a sparse difference added: tensors one at a time, files in which nothing changes copied."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from polycompress.distill.sft import RawTensor, SparseDiff, make_patch
from polycompress.modeldir.directory import read_json, safe_file
from polycompress.modeldir.header import TensorInfo
from polycompress.modeldir.rawio import Progress, copy_file
from polycompress.modeldir.rewriting import Entry, as_it_is, copy_beside, write_exchanged
from polycompress.modeldir.tensors import Checkpoint, read_tensor
from polycompress.modeldir.writing import BytesLike

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


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
    touched = {*diff.tensors, *diff.dense}
    exchanged: dict[str, dict[str, Entry]] = {}
    for info in base.tensors.values():
        if info.name in diff.info.dropped:
            exchanged[info.name] = {}
        elif diff.info.prefix or info.name in touched:
            exchanged[info.name] = {diff.info.prefix + info.name: _entry(base, info, diff)}
    added = {name: _whole(diff.dense[name]) for name in sorted(diff.dense.keys() - base.tensors.keys())}
    if added:
        last = next(info for info in base.tensors.values() if info.file == base.files[-1])
        exchanged[last.name] = {**exchanged.get(last.name, {last.name: as_it_is(base, last)}), **added}
    report = write_exchanged(base, out, exchanged, progress=progress)
    return {"parameters": report.parameters, "bytes": report.nbytes}


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
    for name in names:
        copy_file(safe_file(root, name), out / name)
    # The vocabulary stays, so the files beside tokenizer.json that go stale where it is cut are still true.
    return [*names, *(name for name in copy_beside(root, out) if name not in names)]


def _entry(base: Checkpoint, info: TensorInfo, diff: SparseDiff) -> Entry:
    """Type, shape and data of a tensor of the base in the result; the data is made when it is asked for."""
    if info.name in diff.dense:
        return _whole(diff.dense[info.name])
    if info.name in diff.tensors:
        return info.dtype, info.shape, _patched(base, info, diff)
    return as_it_is(base, info)


def _whole(tensor: RawTensor) -> Entry:
    return tensor.dtype, tensor.shape, tensor.flat


def _patched(base: Checkpoint, info: TensorInfo, diff: SparseDiff) -> Iterator[BytesLike]:
    tensor = RawTensor(info.dtype, read_tensor(base, info.name))
    yield make_patch(info.name, tensor, diff.tensors[info.name]).put(tensor).flat
