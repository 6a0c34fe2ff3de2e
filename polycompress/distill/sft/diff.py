"""The sparse difference of two models: chosen places with float64 values, a dense part, and what it belongs to."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycompress.distill.sft.mask import Mask
from polycompress.distill.sft.values import FLOATS, Raw, RawTensor, bits_of, from_float64, to_float64
from polycompress.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """What changes in one tensor: P of its K entries are pinned.

    A sum in floating point cannot reach every number: 1e30 + d is never 1e-30, and 1 + d never -0.0. Such entries
    also keep the result itself, which counts wherever no other difference touches the same place.
    """

    indices: NDArray[np.int64]
    """(K,) places among the tensor's values in the order of memory, increasing."""
    values: NDArray[np.float64]
    """(K,) what is added there; finite. -0.0 is added where nothing changes: it alone leaves -0.0 as it is."""
    pinned: NDArray[np.int64]
    """(P,) positions in ``indices``, increasing."""
    results: Raw
    """(P,) raw values that stand there afterwards."""


@dataclass(frozen=True, slots=True)
class BaseTensor:
    """A tensor of the model that a difference is added to."""

    dtype: str
    """In the spelling of safetensors."""
    shape: tuple[int, ...]
    sha256: str
    """Of its bytes, in hexadecimal."""

    @property
    def size(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class DiffInfo:
    """What a difference belongs to, and how it came to be."""

    base: Mapping[str, BaseTensor] = field(default_factory=dict)
    """Every tensor of the base model."""
    task: str | None = None
    """What was learnt, where it is a task."""
    languages: tuple[str, ...] = ()
    """Codes of what it was trained on."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Fields of config.json that belong to the dense part: the head's classes and their names."""
    prefix: str = ""
    """What the tuned model puts before the names of the base's tensors, such as ``roberta.`` where it got a head."""
    dropped: tuple[str, ...] = ()
    """Tensors of the base that the tuned model does not have."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class SparseDiff:
    """What turns a base model into a tuned one."""

    tensors: Mapping[str, Entries]
    """By name; no tensor of these is in ``dense``."""
    dense: Mapping[str, RawTensor]
    """Tensors that are replaced or added whole: the head of a task."""
    info: DiffInfo

    @property
    def k(self) -> int:
        """Entries of all tensors."""
        return sum(len(entries.indices) for entries in self.tensors.values())

    @property
    def density(self) -> float:
        """Their share of the base model's values."""
        return self.k / max(1, sum(tensor.size for tensor in self.info.base.values()))

    @property
    def digest(self) -> str:
        """SHA-256 of places, values and dense part, in hexadecimal: what it does, whatever is noted of it."""
        found = hashlib.sha256()
        for name, entries in sorted(self.tensors.items()):
            parts = (entries.indices, entries.values, entries.pinned, entries.results)
            _feed(found, "sparse", name, *parts)
        for name, tensor in sorted(self.dense.items()):
            _feed(found, "dense", name, tensor.dtype, str(tensor.shape), tensor.flat)
        return found.hexdigest()


def difference(
    before: Mapping[str, RawTensor],
    after: Mapping[str, RawTensor],
    mask: Mask,
    *,
    dense: Collection[str] = (),
    info: DiffInfo | None = None,
) -> SparseDiff:
    """The difference of two states of a model: exactly the mask's places, and some tensors whole.

    Args:
        before: Every tensor of the base, by name; those of ``dense`` may be missing.
        after: Every tensor of the tuned model.
        mask: See ``choose_mask``. All its places are kept, also where nothing changed.
        dense: Tensors that are kept whole.
        info: What it belongs to.

    Raises:
        InputError: Tensors differ in names, types or shapes, or one changed outside of its mask.
    """
    faults = _mismatches(before, after, dense)
    tensors = {}
    for name in sorted(after.keys() - set(dense)) if not faults else ():
        places = mask.get(name, np.zeros(0, np.int64))
        changed = np.setdiff1d(changed_places(before[name], after[name]), places, assume_unique=True)
        if len(changed):
            faults.append(
                f"tensor '{name}': {len(changed)} values outside of the mask changed, first {changed[0]}"
            )
        elif len(places):
            tensors[name] = tensor_difference(name, before[name], after[name], places)
    if faults:
        raise InputError("No difference can be taken of these two states:\n  " + "\n  ".join(faults))
    return SparseDiff(tensors, {name: after[name] for name in sorted(dense)}, info or DiffInfo())


def tensor_difference(name: str, before: RawTensor, after: RawTensor, indices: NDArray[np.int64]) -> Entries:
    """The difference of one tensor at some places; added to ``before`` it gives ``after`` there, bit by bit.

    Args:
        name: For messages.
        before: Of a type in ``FLOATS``.
        after: Of the same type and shape.
        indices: (K,) increasing.

    Raises:
        InputError: A value there is not finite, or the difference is larger than float64 holds.
    """
    old, new = before.flat[indices], after.flat[indices]
    start = to_float64(old, before.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        values = to_float64(new, after.dtype) - start
    if not np.isfinite(values).all():
        place = int(indices[np.flatnonzero(~np.isfinite(values))[0]])
        raise InputError(
            f"tensor '{name}': value {place} or its change is no finite number. Is the model damaged?"
        )
    values[bits_of(old) == bits_of(new)] = -0.0
    with np.errstate(over="ignore"):
        reached = from_float64(start + values, before.dtype)
    missed = bits_of(reached) != bits_of(new)
    pinned = np.flatnonzero(missed).astype(np.int64)
    return Entries(indices.astype(np.int64), values, pinned, new[pinned])


def changed_places(before: RawTensor, after: RawTensor) -> NDArray[np.int64]:
    """Where two tensors of one type and shape differ in a bit, (K,) increasing."""
    return np.flatnonzero(bits_of(before.flat) != bits_of(after.flat)).astype(np.int64)


def _mismatches(
    before: Mapping[str, RawTensor], after: Mapping[str, RawTensor], dense: Collection[str]
) -> list[str]:
    faults = [
        f"tensor '{name}' is to be kept whole, but is not there" for name in sorted(set(dense) - after.keys())
    ]
    for name in sorted((before.keys() | after.keys()) - set(dense)):
        if name not in before or name not in after:
            faults.append(f"tensor '{name}' is in one of them only")
            continue
        old, new = before[name], after[name]
        if (old.dtype, old.shape) != (new.dtype, new.shape):
            faults.append(
                f"tensor '{name}' is {old.dtype} {old.shape} in one, {new.dtype} {new.shape} in the other"
            )
        elif old.dtype not in FLOATS and len(changed_places(old, new)):
            faults.append(f"tensor '{name}' of type {old.dtype} changed: keep it whole")
    return faults


def _feed(found: Any, *parts: str | NDArray[Any]) -> None:
    """Hash parts, each after its length, so that none can be taken for two."""
    for part in parts:
        raw = (
            part.encode("utf-8", "surrogatepass")
            if isinstance(part, str)
            else np.ascontiguousarray(part).view("u1")
        )
        found.update(len(raw).to_bytes(8, "little"))
        found.update(raw)
