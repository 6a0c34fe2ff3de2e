"""Snapshots: the whole state of a run in a directory that is there whole or not at all.

``snapshots/step-N/`` holds for each part of the state a tree of plain values (``PART.json``) and its tensors
(``PART.safetensors``), the run's ``config.json``, and ``snapshot.json`` with the size and SHA-256 of each file, so that
one that a disk damaged or somebody half copied is known for it. No pickle.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

import polycompress
from polycompress.errors import InputError
from polycompress.modeldir.atomic import atomic_directory
from polycompress.modeldir.leftovers import remove
from polycompress.modeldir.rawio import sha256_file
from polycompress.modeldir.writing import write_tensors
from polycompress.training.config import differing_fields
from polycompress.training.errors import SnapshotMismatchError

logger = logging.getLogger(__name__)

SCHEMA: Final = 1
HEADER: Final = "snapshot.json"
CONFIG: Final = "config.json"
_NAME = re.compile(r"step-(\d{1,15})")
_MAX_JSON: Final = 1 << 28
_DTYPES: Final = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One that was found; its files may still turn out damaged."""

    path: Path
    step: int
    score: float | None
    """Of the metric by which the best is kept, lower is better."""
    files: Mapping[str, tuple[int, str]]
    """Bytes and SHA-256 of each."""


def save_snapshot(
    root: Path,
    step: int,
    parts: Mapping[str, Any],
    identity: Mapping[str, Any],
    *,
    score: float | None = None,
) -> Path:
    """Write a snapshot; it appears whole or not at all. One of the same step is replaced.

    Args:
        root: The directory of all snapshots.
        step: Optimiser steps done.
        parts: By name, nested mappings, lists and tuples of numbers, text, None and tensors.
        identity: What the run is: its model and configuration, as nested plain values.
        score: See ``Snapshot``.

    Returns:
        Its directory.

    Raises:
        StorageError: The disk refused; older snapshots are untouched.
    """
    path = root / f"step-{step}"
    with atomic_directory(path, overwrite=True) as work:
        _write_json(work / CONFIG, identity)
        for name, value in parts.items():
            tensors: dict[str, torch.Tensor] = {}
            tree = _flatten(value, "", tensors)
            _write_json(work / f"{name}.json", tree)
            if tensors:
                write_tensors(
                    work / f"{name}.safetensors", {key: _raw(tensor) for key, tensor in tensors.items()}
                )
        files = {
            file.name: [file.stat().st_size, sha256_file(file)]
            for file in sorted(work.iterdir())
            if file.is_file()
        }
        header = {
            "schema": SCHEMA,
            "tool": {"name": "polycompress", "version": polycompress.__version__},
            "step": step,
            "score": score,
            "parts": sorted(parts),
            "files": files,
        }
        _write_json(work / HEADER, header)
    return path


def newest_snapshot(root: Path) -> Snapshot | None:
    """The newest snapshot that is whole, or None. Newer ones that are not are named in a warning and passed over."""
    passed: list[str] = []
    for snapshot, fault in reversed(list(_found(root))):
        trouble = fault or damage(snapshot)
        if trouble is None:
            if passed:
                logger.warning("%s; going on from %s instead", "; ".join(passed), snapshot.path)
            return snapshot
        passed.append(f"{snapshot.path} is not whole ({trouble})")
    if passed:
        logger.warning("%s; there is no whole snapshot to go on from", "; ".join(passed))
    return None


def find_snapshot(root: Path, step: int) -> Snapshot | None:
    """The snapshot of a step, its files not looked at."""
    return next((each for each, fault in _found(root) if each.step == step and fault is None), None)


def snapshot_steps(root: Path) -> list[int]:
    """Of which steps there are snapshots, rising; their files are not looked at."""
    return [each.step for each, fault in _found(root) if fault is None]


def damage(snapshot: Snapshot) -> str | None:
    """What is wrong with a snapshot's files, or None."""
    for name, (size, digest) in snapshot.files.items():
        file = snapshot.path / name
        if file.is_symlink() or not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} bytes instead of {size}"
        if sha256_file(file) != digest:
            return f"{name} has changed since it was written"
    return None


def load_snapshot(snapshot: Snapshot) -> dict[str, Any]:
    """The parts of a snapshot as they were saved, tensors on the CPU.

    Raises:
        InputError: A file cannot be read.
    """
    parts = {}
    for name in snapshot.files:
        if name.endswith(".json") and name != CONFIG:
            part = name.removesuffix(".json")
            tensors: Mapping[str, torch.Tensor] = {}
            if f"{part}.safetensors" in snapshot.files:
                tensors = _load_tensors(snapshot.path / f"{part}.safetensors")
            parts[part] = _unflatten(_read_json(snapshot.path / name), tensors)
    return parts


def check_identity(snapshot: Snapshot, identity: Mapping[str, Any]) -> None:
    """Refuse a snapshot of another model or configuration.

    Raises:
        SnapshotMismatchError: With every field that differs, and both values.
    """
    theirs = _read_json(snapshot.path / CONFIG)
    if not isinstance(theirs, dict):
        raise InputError(f"{snapshot.path / CONFIG}: is no JSON object. Restore the file.")
    refuse_difference(snapshot.path, theirs, identity)


def refuse_difference(path: Path, theirs: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Refuse a run or a snapshot that is not of a model and configuration.

    Raises:
        SnapshotMismatchError: With every field that differs, and both values.
    """
    different = differing_fields(theirs, json.loads(json.dumps(identity)))
    if different:
        fields = "\n".join(f"  {name}: {old!r} there, {new!r} now" for name, (old, new) in different.items())
        raise SnapshotMismatchError(
            f"{path}: belongs to another run; these fields differ:\n{fields}\nGo on with the model and the "
            "options of before, or start a new run in another directory."
        )


def prune_snapshots(root: Path, *, keep_last: int, keep_best: bool) -> list[Path]:
    """Remove all but the last, and the one with the least score.

    Returns:
        The directories removed.
    """
    found = [snapshot for snapshot, fault in _found(root) if fault is None]
    kept = {snapshot.path for snapshot in found[-keep_last:]}
    scored = [snapshot for snapshot in found if snapshot.score is not None]
    if keep_best and scored:
        kept.add(min(scored, key=lambda snapshot: (snapshot.score, -snapshot.step)).path)
    gone = [snapshot.path for snapshot in found if snapshot.path not in kept]
    for path in gone:
        try:
            remove(path)
        except OSError as error:
            logger.warning("%s: could not be removed (%s)", path, error)
    return gone


def best_snapshot(root: Path) -> Snapshot | None:
    """The snapshot with the least score, or None where none has one."""
    scored = [each for each, fault in _found(root) if fault is None and each.score is not None]
    return min(scored, key=lambda each: (each.score, -each.step)) if scored else None


def _found(root: Path) -> Iterator[tuple[Snapshot, str | None]]:
    """Snapshots by rising step, each with what is wrong with its header, if anything."""
    paths = [(int(match[1]), path) for path in root.glob("step-*") if (match := _NAME.fullmatch(path.name))]
    for step, path in sorted(paths):
        try:
            header = _read_json(path / HEADER)
            if header["schema"] != SCHEMA or header["step"] != step:
                raise ValueError(f"{HEADER} is of another version or step")
            files = {str(name): (int(size), str(digest)) for name, (size, digest) in header["files"].items()}
            if any("/" in name or name.startswith(".") for name in files):
                raise ValueError(f"{HEADER} names files elsewhere")
            missing = [f"{part}.json" for part in header["parts"] if f"{part}.json" not in files]
            if missing:
                raise ValueError(f"{HEADER} lacks {missing[0]}")
            score = header["score"]
            yield Snapshot(path, step, float(score) if score is not None else None, files), None
        except (InputError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            yield Snapshot(path, step, None, {}), str(error) or type(error).__name__


def _flatten(value: Any, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """A value as JSON has it, its tensors put aside under their places' names."""
    if isinstance(value, torch.Tensor):
        tensors[name] = value
        return {"$tensor": name}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: _flatten(item, f"{name}/{key}", tensors) for key, item in value.items()}
        return {"$pairs": [[key, _flatten(item, f"{name}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [_flatten(item, f"{name}/{number}", tensors) for number, item in enumerate(value)]
        return items if isinstance(value, list) else {"$tuple": items}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a snapshot cannot hold a {type(value).__name__} ({name})")


def _unflatten(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(value, dict):
        if "$tensor" in value:
            return tensors[value["$tensor"]]
        if "$pairs" in value:
            return {key: _unflatten(item, tensors) for key, item in value["$pairs"]}
        if "$tuple" in value:
            return tuple(_unflatten(item, tensors) for item in value["$tuple"])
        return {key: _unflatten(item, tensors) for key, item in value.items()}
    return [_unflatten(item, tensors) for item in value] if isinstance(value, list) else value


def _raw(tensor: torch.Tensor) -> tuple[str, tuple[int, ...], Any]:
    """Type, shape and bytes of a tensor, as ``write_tensors`` takes them; copied only off another device."""
    plain = tensor.detach().cpu().contiguous()
    return _DTYPES[plain.dtype], tuple(plain.shape), plain.reshape(-1).view(torch.uint8).numpy()


def _load_tensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, torch.Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}). Remove the snapshot, and resume again."
        ) from error
    return tensors


def _write_json(path: Path, value: Any) -> None:
    path.write_text(
        json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", errors="backslashreplace"
    )


def _read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > _MAX_JSON:
            raise ValueError("too large")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path.name} cannot be read: {reason}") from error
