"""A checkpoint: the safetensors files of a model directory, their tensors, the index that joins shards."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.modeldir.header import TensorInfo, read_header
from polycompress.modeldir.paths import read_json, safe_file

SINGLE_FILE: Final = "model.safetensors"
INDEX_FILE: Final = "model.safetensors.index.json"

_OTHER_WEIGHTS = (
    "pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin", "tf_model.h5",
    "flax_model.msgpack", "*.bin", "*.pt", "*.pth", "*.ckpt",
)  # fmt: skip
_CONVERT = (
    "import json, shutil, sys, transformers; old, new = sys.argv[1:]; "
    "shutil.copytree(old, new, ignore=shutil.ignore_patterns('*.bin', '*.bin.index.json', '*.h5', "
    "'*.msgpack')); name = json.load(open(old + '/config.json'))['architectures'][0]; "
    "getattr(transformers, name).from_pretrained(old).save_pretrained(new)"
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Every tensor of a model directory and where it lies.

    Attributes:
        root: The model directory.
        files: Names of the safetensors files.
        tensors: Each tensor by name, file by file in the order of their bytes.
        index: The index as it was read, for a checkpoint of shards; else None.
        metadata: The free text fields of each file's header.
    """

    root: Path
    files: tuple[str, ...]
    tensors: dict[str, TensorInfo]
    index: dict[str, Any] | None
    metadata: dict[str, dict[str, str]]


def open_checkpoint(root: Path) -> Checkpoint:
    """Read and check the headers of a model directory's safetensors files; no weights are read.

    As in transformers, `model.safetensors` wins over an index.

    Args:
        root: The model directory.

    Returns:
        The checkpoint.

    Raises:
        InputError: There are no safetensors weights (the message says how to convert others), a file is
            corrupt, a shard or a tensor that the index names is missing, or a name leads out of the
            directory.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError(
            f"{root}: no such directory. Give the directory that holds config.json and the weights."
        )
    index: dict[str, Any] | None = None
    if safe_file(root, SINGLE_FILE).exists():
        files: tuple[str, ...] = (SINGLE_FILE,)
    else:
        index = read_json(root, INDEX_FILE, required=False)
        if index is None:
            raise InputError(_no_weights(root))
        files = _shards(root, index)
    tensors: dict[str, TensorInfo] = {}
    metadata: dict[str, dict[str, str]] = {}
    for file in files:
        header = read_header(safe_file(root, file), file)
        metadata[file] = header.metadata
        for info in header.tensors:
            if info.name in tensors:
                raise InputError(
                    f"{root / file}: tensor '{info.name}' also stands in {tensors[info.name].file}. Remove "
                    "one of the two, or fetch the model again."
                )
            tensors[info.name] = info
    if index is not None:
        _check_index(root, index, tensors)
    if not tensors:
        raise InputError(f"{root}: the safetensors files hold no tensors. Fetch the model again.")
    return Checkpoint(root, files, tensors, index, metadata)


def _shards(root: Path, index: dict[str, Any]) -> tuple[str, ...]:
    """Names of the shards, each of them a plain name of a file that exists."""
    path = root / INDEX_FILE
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{path}: 'weight_map' must map tensor names to files. Restore the file.")
    if not isinstance(index.get("metadata", {}), dict):
        raise InputError(f"{path}: 'metadata' must be an object. Restore the file.")
    for tensor, file in weight_map.items():
        if not isinstance(file, str) or not file.endswith(".safetensors") or "/" in file or "\\" in file:
            raise InputError(
                f"{path}: 'weight_map' puts tensor '{tensor}' into {file!r}. Only names of safetensors "
                "files in the model directory itself are read."
            )
    files = tuple(sorted(set(weight_map.values())))
    for file in files:
        if not safe_file(root, file).exists():
            raise InputError(
                f"{root / file}: this shard, named by {INDEX_FILE}, is missing. Fetch the file again."
            )
    return files


def _check_index(root: Path, index: dict[str, Any], tensors: dict[str, TensorInfo]) -> None:
    for name, file in index["weight_map"].items():
        if name not in tensors:
            raise InputError(
                f"{root / INDEX_FILE}: 'weight_map' names tensor '{name}', which {file} does not hold. "
                "Fetch the index and the shard again."
            )
        if tensors[name].file != file:
            raise InputError(
                f"{root / INDEX_FILE}: 'weight_map' puts tensor '{name}' into {file}, but it lies in "
                f"{tensors[name].file}. Fetch the index and the shards again."
            )


def _no_weights(root: Path) -> str:
    others = [entry.name for pattern in _OTHER_WEIGHTS for entry in root.glob(pattern) if entry.is_file()]
    if others:
        old, new = shlex.quote(str(root)), shlex.quote(f"{root}-safetensors")
        return (
            f"{root}: has {others[0]} but no {SINGLE_FILE}. Weights are read from safetensors only. If you "
            "trust where the file comes from, convert it where torch and transformers are installed, then "
            "use the new directory:\n"
            f'python -c "{_CONVERT}" {old} {new}'
        )
    named = sorted(entry.name for entry in root.glob("*.safetensors"))
    if named:
        return (
            f"{root}: has {named[0]} but neither {SINGLE_FILE} nor {INDEX_FILE}. Give the directory of a "
            "whole model; adapters must be merged into it first."
        )
    return (
        f"{root}: has neither {SINGLE_FILE} nor {INDEX_FILE}. Give a model directory as transformers saves "
        "it; if the model's repository has weights in another format only, save it anew with save_pretrained."
    )
