"""Sparse differences between model directories: added, taken, shown.

Method: Ansell, Ponti, Korhonen and Vulic, "Composable Sparse Fine-Tuning for Cross-Lingual Transfer" (ACL 2022), on
files instead of models; torch is not needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polycompress.distill.sft import (
    FLOATS,
    DiffInfo,
    Entries,
    Mask,
    RawTensor,
    SparseDiff,
    base_of,
    changed_places,
    compose,
    load_diff,
    open_diff,
    save_diff,
    tensor_difference,
)
from polycompress.errors import InputError
from polycompress.modeldir.atomic import atomic_directory, check_apart, check_output, check_output_file
from polycompress.modeldir.directory import read_json
from polycompress.modeldir.figures import items_of, part_of
from polycompress.modeldir.manifest import read_manifest, write_manifest
from polycompress.modeldir.sft_card import render_sft_card
from polycompress.modeldir.sources import ModelSource, resolve_model
from polycompress.modeldir.tensors import Checkpoint, open_checkpoint, read_tensor
from polycompress.pipelines.differences.checking import Tell, check_base, check_once
from polycompress.pipelines.differences.pairing import Pairing, head_fields, pair_up
from polycompress.pipelines.differences.record import applied_manifest
from polycompress.pipelines.differences.writing import write_others, write_weights


@dataclass(frozen=True, kw_only=True, slots=True)
class SftResult:
    """What was written."""

    out: Path
    diff: SparseDiff
    """What was added, all differences as one; or what was taken."""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        info = self.diff.info
        return {
            "out": str(self.out),
            "k": self.diff.k,
            "density": self.diff.density,
            "tensors": sorted(self.diff.tensors),
            "dense": sorted(self.diff.dense),
            "dropped": list(info.dropped),
            "task": info.task,
            "languages": list(info.languages),
            "digest": self.diff.digest,
        }


def apply_sft(
    diffs: Sequence[str | os.PathLike[str]],
    *,
    to: str | os.PathLike[str],
    out: str | os.PathLike[str],
    overwrite: bool = False,
    command: Sequence[str] = (),
    tell: Tell | None = None,
) -> SftResult:
    """Add sparse differences to a model.

    Args:
        diffs: Files; their order does not matter.
        to: The model that all of them are differences to: a directory, the word ``demo``, or ``owner/name[@revision]``.
        out: The model directory to write.
        overwrite: Whether an existing one is replaced.
        command: What to record as the command.
        tell: Told what is being done: what, how much more, how much in all.

    Raises:
        InputError: A file is wrong, a difference is of another base model (tensors are named), or some do not go
            together; nothing was written.
        StorageError: It could not be written; nothing was left behind.
    """
    place = Path(out)
    check_output(place, overwrite=overwrite)
    source = resolve_model(to)
    check_apart(place, source.path)
    checkpoint = open_checkpoint(source.path)
    opened = [open_diff(Path(each)) for each in diffs]
    check_base(opened, checkpoint, source, tell)
    loaded = [load_diff(each) for each in opened]
    check_once(opened, loaded)
    together = compose(loaded)
    with atomic_directory(place, overwrite=overwrite) as building:
        total = sum(info.nbytes for info in checkpoint.tensors.values())
        report = (lambda amount: tell("writing weights", amount, total)) if tell is not None else None
        after = write_weights(checkpoint, together, building, progress=report)
        copied = write_others(source.path, together, building)
        parts = list(zip(opened, loaded, strict=True))
        manifest = applied_manifest(source, checkpoint, parts, together, command=command, after=after)
        manifest["copied"] = copied
        write_manifest(building, manifest)
        (building / "README.md").write_text(render_sft_card(manifest), encoding="utf-8")
    return SftResult(out=place, diff=together)


def check_diffs(diffs: Sequence[str | os.PathLike[str]], *, of: ModelSource) -> None:
    """Check that sparse differences are whole and of a model, as ``apply_sft`` would; nothing is written.

    Args:
        diffs: Files, at least one.
        of: The model.

    Raises:
        InputError: A file is wrong, or a difference is of another base model (tensors are named).
    """
    opened = [open_diff(Path(each)) for each in diffs]
    check_base(opened, open_checkpoint(of.path), of, None)
    for each in opened:
        load_diff(each)


def diff_models(
    base: str | os.PathLike[str],
    tuned: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    mask: Mask | None = None,
    notes: Sequence[str] = (),
    overwrite: bool = False,
    tell: Tell | None = None,
) -> SftResult:
    """Take the exact difference of two models: added to the first it gives the weights of the second, bit by bit.

    A tensor that only the tuned model has, as a head, is kept whole; one that only the base has is dropped.

    Args:
        base: The model before: a directory, the word ``demo``, or ``owner/name[@revision]``.
        tuned: The model after, of the same architecture, shapes and types; with a mask, tensors that it does not name,
            as a head of another number of labels, may be of others.
        out: The file to write.
        mask: What a sparse fine-tuning was allowed to move, by the tuned model's names: exactly these places are kept,
            also where nothing changed, and of tensors that it does not name those that changed are kept whole. None:
            every place whose bits differ.
        notes: Kept in the file.
        overwrite: Whether an existing file is replaced.
        tell: Told what is being done.

    Raises:
        InputError: The models do not fit each other, or something changed outside of the mask; every fault is named,
            and nothing was written.
        StorageError: It could not be written; nothing was left behind.
    """
    place = Path(out)
    check_output_file(place, overwrite=overwrite)
    one, other = resolve_model(base), resolve_model(tuned)
    before, after = open_checkpoint(one.path), open_checkpoint(other.path)
    configs = [read_json(source.path, "config.json") or {} for source in (one, other)]
    heads = () if mask is None else after.tensors.keys() - mask.keys()
    pairing = pair_up(before.tensors, after.tensors, *configs, names=(str(base), str(tuned)), heads=heads)
    if tell is not None:
        tell("comparing", 0, None)
    tensors, dense = _compared(before, after, pairing, mask)
    task, languages = _learnt(other)
    info = DiffInfo(
        base=base_of(before),
        task=task,
        languages=languages,
        config=head_fields(*configs),
        prefix=pairing.prefix,
        dropped=pairing.dropped,
        notes=tuple(notes),
    )
    diff = SparseDiff(tensors, dense, info)
    save_diff(place, diff)
    return SftResult(out=place, diff=diff)


def show_diff(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Everything that a difference's file says of itself; its values are read and checked as well.

    Raises:
        InputError: The file is wrong.
    """
    opened = open_diff(Path(path))
    diff = load_diff(opened)
    base, info = diff.info.base, diff.info
    return {
        "file": str(path),
        "k": diff.k,
        "density": diff.density,
        "base_parameters": sum(tensor.size for tensor in base.values()),
        "base_tensors": len(base),
        "task": info.task,
        "languages": list(info.languages),
        "notes": list(info.notes),
        "config": dict(info.config),
        "prefix": info.prefix,
        "dropped": list(info.dropped),
        "digest": diff.digest,
        "pinned": sum(len(entries.pinned) for entries in diff.tensors.values()),
        "tensors": {
            name: {"entries": len(entries.indices), "values": base[name].size, "dtype": base[name].dtype}
            for name, entries in diff.tensors.items()
        },
        "dense": {
            name: {"dtype": each.dtype, "shape": list(each.shape)} for name, each in diff.dense.items()
        },
    }


def _compared(
    before: Checkpoint, after: Checkpoint, pairing: Pairing, mask: Mask | None
) -> tuple[dict[str, Entries], dict[str, RawTensor]]:
    """What is sparse and what is kept whole, one tensor after another."""
    strangers = sorted((mask or {}).keys() - set(pairing.pairs.values()))
    faults = [f"tensor '{name}' of the mask is not in both models" for name in strangers]
    tensors, dense = {}, {name: _raw(after, name) for name in pairing.added}
    for name, twin in pairing.pairs.items():
        old, new = _raw(before, name), _raw(after, twin)
        if (old.dtype, old.shape) != (new.dtype, new.shape):
            dense[name] = new
            continue
        changed = changed_places(old, new)
        if mask is not None and twin in mask:
            outside = np.setdiff1d(changed, mask[twin], assume_unique=True)
            if len(outside):
                faults.append(
                    f"tensor '{name}': {len(outside)} values outside of the mask changed, first {outside[0]}"
                )
            elif len(mask[twin]):
                tensors[name] = tensor_difference(name, old, new, mask[twin])
        elif len(changed) and mask is None and old.dtype in FLOATS:
            tensors[name] = tensor_difference(name, old, new, changed)
        elif len(changed):
            dense[name] = new
    if faults:
        raise InputError("The mask does not fit these models:\n  " + "\n  ".join(faults))
    return tensors, dense


def _raw(checkpoint: Checkpoint, name: str) -> RawTensor:
    return RawTensor(checkpoint.tensors[name].dtype, read_tensor(checkpoint, name))


def _learnt(tuned: ModelSource) -> tuple[str | None, tuple[str, ...]]:
    """Task and languages that the tuned model's manifest names."""
    manifest = read_manifest(tuned.path) or {}
    found = part_of(manifest, "finetuning")
    task = found.get("task")
    named = [each.get("code") for each in items_of(manifest, "languages") if isinstance(each, Mapping)]
    codes = items_of(found, "train_languages") or named
    return (task if isinstance(task, str) else None), tuple(code for code in codes if isinstance(code, str))
