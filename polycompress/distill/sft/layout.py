"""The layout of a difference's file, checked on its header alone, before any value is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from polycompress.distill.sft.diff import BaseTensor
from polycompress.distill.sft.values import FLOATS
from polycompress.modeldir.header import DTYPE_BITS, TensorInfo

PARTS: Final = ("indices", "values", "pinned", "results", "dense")
_TOGETHER: Final = (("indices", "values"), ("pinned", "results"))

Tensors = Mapping[str, TensorInfo]


def names_of(tensors: Tensors, part: str) -> tuple[str, ...]:
    """Names of the base model's tensors that have this part, sorted."""
    prefix = f"{part}/"
    return tuple(sorted(name[len(prefix) :] for name in tensors if name.startswith(prefix)))


def layout_faults(tensors: Tensors, base: Mapping[str, BaseTensor], k: int) -> list[str]:
    """What is wrong with the tensors that a header lists.

    Args:
        tensors: Of the file, by their names there.
        base: Of the model that it is a difference to.
        k: How many entries there should be.
    """
    faults = [f"'{name}' belongs to nothing" for name in tensors if name.partition("/")[0] not in PARTS]
    for pair in _TOGETHER:
        faults += _pair_faults(tensors, *pair)
    sparse, dense = names_of(tensors, "indices"), names_of(tensors, "dense")
    faults += [
        f"'pinned/{name}' has no 'indices/{name}'"
        for name in names_of(tensors, "pinned")
        if name not in sparse
    ]
    faults += [fault for name in sparse for fault in _sparse_faults(tensors, base.get(name), name)]
    faults += [f"tensor '{name}' is both sparse and whole" for name in dense if name in sparse]
    faults += [
        f"'dense/{name}' is of type {tensors[f'dense/{name}'].dtype}, which packs several values into a byte"
        for name in dense
        if DTYPE_BITS[tensors[f"dense/{name}"].dtype] % 8
    ]
    total = sum(_length(tensors[f"indices/{name}"]) for name in sparse)
    if total != k:
        faults.append(f"'k' is {k}, but there are {total} entries")
    return faults


def _pair_faults(tensors: Tensors, one: str, other: str) -> list[str]:
    """Two parts stand together, and are of one length."""
    faults = []
    for name in sorted({*names_of(tensors, one), *names_of(tensors, other)}):
        first, second = tensors.get(f"{one}/{name}"), tensors.get(f"{other}/{name}")
        if first is None or second is None:
            present, absent = (one, other) if second is None else (other, one)
            faults.append(f"'{present}/{name}' has no '{absent}/{name}'")
        elif _length(first) != _length(second):
            faults.append(f"'{one}/{name}' and '{other}/{name}' are of different lengths")
    return faults


def _sparse_faults(tensors: Tensors, own: BaseTensor | None, name: str) -> list[str]:
    if own is None:
        return [f"tensor '{name}' is not in its base model"]
    if own.dtype not in FLOATS:
        return [f"tensor '{name}' is of type {own.dtype}, which has no differences"]
    faults = []
    for part, dtype in (("indices", "I64"), ("values", "F64"), ("pinned", "I64"), ("results", own.dtype)):
        info = tensors.get(f"{part}/{name}")
        if info is None:
            continue
        if info.dtype != dtype or len(info.shape) != 1:
            faults.append(f"'{info.name}' is {info.dtype} {list(info.shape)}, not a list of {dtype}")
        elif info.shape[0] > own.size:
            faults.append(f"'{info.name}' has {info.shape[0]} entries for a tensor of {own.size} values")
    return faults


def _length(info: TensorInfo) -> int:
    return math.prod(info.shape)
