"""Adding a difference to a model, and taking it back: what stood there is kept, so nothing drifts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycompress.distill.sft.diff import Entries, SparseDiff
from polycompress.distill.sft.values import FLOATS, Raw, RawTensor, from_float64, to_float64
from polycompress.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """What stands at some places of a tensor before and after a difference is added; both are raw values."""

    indices: NDArray[np.int64]
    """(K,) places among the tensor's values in the order of memory, increasing."""
    before: Raw
    """(K,)"""
    after: Raw
    """(K,)"""

    def put(self, tensor: RawTensor) -> RawTensor:
        """A copy of the tensor with the difference added."""
        return _with(tensor, self.indices, self.after)

    def take_back(self, tensor: RawTensor) -> RawTensor:
        """A copy of the tensor with the values of before."""
        return _with(tensor, self.indices, self.before)


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """A model with a difference added, and what is needed to take it back."""

    tensors: Mapping[str, RawTensor]
    """Every tensor; those that nothing touches are the base's own."""
    patches: Mapping[str, Patch]
    replaced: Mapping[str, RawTensor | None]
    """What stood where the dense part is now; None where it was added."""


def make_patch(name: str, base: RawTensor, entries: Entries) -> Patch:
    """What a difference makes of a tensor: base and difference added in float64 and rounded once to the base's type.

    Args:
        name: For messages.
        base: Of a type in ``FLOATS``.
        entries: Its indices lie in the tensor.

    Raises:
        InputError: A sum is larger than the type holds.
    """
    if base.dtype not in FLOATS:
        raise InputError(f"tensor '{name}': values of type {base.dtype} have no differences.")
    before = base.flat[entries.indices]
    with np.errstate(over="ignore"):
        after = from_float64(to_float64(before, base.dtype) + entries.values, base.dtype)
    after[entries.pinned] = entries.results
    bad = np.flatnonzero(~np.isfinite(to_float64(after, base.dtype)))
    if len(bad):
        place = int(entries.indices[bad[0]])
        raise InputError(f"tensor '{name}': the sum at value {place} is larger than {base.dtype} holds.")
    return Patch(entries.indices, before, after)


def apply(base: Mapping[str, RawTensor], diff: SparseDiff) -> Applied:
    """Add a difference to a model; the base stays as it is.

    Args:
        base: Every tensor by name.
        diff: Of this base: its hashes are compared by who reads files, not here.

    Raises:
        InputError: The base lacks a tensor, or a sum is larger than its type holds.
    """
    missing = sorted(diff.tensors.keys() - base.keys())
    if missing:
        raise InputError(f"The model has no tensor {', '.join(missing)}: the difference is of another one.")
    patches = {name: make_patch(name, base[name], entries) for name, entries in diff.tensors.items()}
    changed = {name: patch.put(base[name]) for name, patch in patches.items()}
    replaced = {name: base.get(name) for name in diff.dense}
    return Applied({**base, **changed, **diff.dense}, patches, replaced)


def revert(applied: Applied) -> dict[str, RawTensor]:
    """The model before ``apply``, bit by bit.

    Subtracting would not do: (a + d) - d misses a value by a bit now and then.
    """
    tensors = dict(applied.tensors)
    for name, patch in applied.patches.items():
        tensors[name] = patch.take_back(tensors[name])
    for name, old in applied.replaced.items():
        if old is None:
            del tensors[name]
        else:
            tensors[name] = old
    return tensors


def _with(tensor: RawTensor, indices: NDArray[np.int64], values: Raw) -> RawTensor:
    flat = tensor.flat.copy()
    flat[indices] = values
    return RawTensor(tensor.dtype, flat.reshape(tensor.shape))
