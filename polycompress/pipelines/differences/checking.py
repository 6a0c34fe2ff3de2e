"""Whether differences are of the model that they are to be added to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from polycompress.distill.sft import BaseTensor, SparseDiff, base_of
from polycompress.distill.sft.files import DiffFile
from polycompress.errors import InputError
from polycompress.modeldir.header import TensorInfo
from polycompress.modeldir.sources import ModelSource
from polycompress.modeldir.tensors import Checkpoint

Tell = Callable[[str, int, int | None], None]
_SHOWN: Final = 20


def check_base(
    opened: Sequence[DiffFile], checkpoint: Checkpoint, source: ModelSource, tell: Tell | None
) -> None:
    """Refuse differences of another base model, before any of their values is read.

    Raises:
        InputError: There is none, or tensors of the model have other names, types, shapes or hashes; they are named.
    """
    if not opened:
        raise InputError("No difference was given: name at least one file.")
    if tell is not None:
        tell("hashing the model", 0, None)
    layout = {name: _without_hash(info) for name, info in checkpoint.tensors.items()}
    faults = _faults(opened, layout, hashed=False)
    # Weights are read only where names, types and shapes fit.
    faults = faults or _faults(opened, base_of(checkpoint), hashed=True)
    if faults:
        raise InputError(
            f"{source.spec}: is not the model that these differences were made for; take that one:\n  "
            + "\n  ".join(faults)
        )


def check_once(opened: Sequence[DiffFile], loaded: Sequence[SparseDiff]) -> None:
    """Refuse a difference that is named twice.

    Raises:
        InputError: Two files hold the same.
    """
    known: dict[str, Path] = {}
    for each, diff in zip(opened, loaded, strict=True):
        first = known.setdefault(diff.digest, each.path)
        if first is not each.path:
            raise InputError(
                f"{each.path}: holds the same difference as {first}, which would be added twice. Name one of them."
            )


def _faults(opened: Sequence[DiffFile], here: Mapping[str, BaseTensor], *, hashed: bool) -> list[str]:
    faults = []
    for each in opened:
        base = each.header.info.base
        there = base if hashed else {name: _without_hash(tensor) for name, tensor in base.items()}
        every = here.keys() | there.keys()
        names = sorted(name for name in every if here.get(name) != there.get(name))
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            what = "values" if hashed else "name, type or shape"
            faults.append(
                f"{each.path}: {len(names)} of {len(every)} tensors differ in {what}: "
                f"{', '.join(names[:_SHOWN])}{more}"
            )
    return faults


def _without_hash(tensor: BaseTensor | TensorInfo) -> BaseTensor:
    return BaseTensor(tensor.dtype, tensor.shape, "")
