"""Several differences of one base model as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from polycompress.distill.sft.diff import DiffInfo, Entries, SparseDiff
from polycompress.distill.sft.values import RawTensor, bits_of
from polycompress.errors import InputError


def compose(diffs: Sequence[SparseDiff]) -> SparseDiff:
    """The sum of differences of one base model, in which their order does not matter.

    Values that meet at one place are added in float64, in the order of the differences' digests; where only one
    difference touches a place, its pinned result counts. Dense parts stand side by side.

    Args:
        diffs: At least one.

    Raises:
        InputError: They are of different base models, or disagree about a tensor that one of them holds whole, or
            about the configuration; every fault is named.

    Reference: Ansell, Ponti, Korhonen and Vulic, "Composable Sparse Fine-Tuning for Cross-Lingual Transfer" (ACL 2022),
    section 3.2.
    """
    if not diffs:
        raise InputError("No difference was given: name at least one.")
    ordered = [diff for _, diff in sorted(((diff.digest, diff) for diff in diffs), key=lambda pair: pair[0])]
    sparse: dict[str, list[Entries]] = defaultdict(list)
    for diff in ordered:
        for name, entries in diff.tensors.items():
            sparse[name].append(entries)
    dense, faults = _dense_parts(ordered)
    faults += [
        f"tensor '{name}' is held whole by one and changed by another"
        for name in sorted(dense.keys() & sparse)
    ]
    config, more = _configs(ordered)
    faults += _other_bases(ordered) + more + _prefixes(ordered)
    if faults:
        raise InputError("These differences do not go together:\n  " + "\n  ".join(faults))
    tensors = {name: _sum(name, parts) for name, parts in sorted(sparse.items())}
    infos = [diff.info for diff in ordered]
    info = DiffInfo(
        base=infos[0].base,
        task=", ".join(sorted({each.task for each in infos if each.task})) or None,
        languages=tuple(sorted({code for each in infos for code in each.languages})),
        config=config,
        prefix=max(each.prefix for each in infos),
        dropped=tuple(sorted({name for each in infos for name in each.dropped})),
        notes=tuple(dict.fromkeys(note for each in infos for note in each.notes)),
    )
    return SparseDiff(tensors, dense, info)


def _sum(name: str, parts: Sequence[Entries]) -> Entries:
    """Entries at all places of any part."""
    if len(parts) == 1:
        return parts[0]
    indices = np.unique(np.concatenate([part.indices for part in parts]))
    values = np.full(len(indices), -0.0)  # what leaves every number as it is
    touched = np.zeros(len(indices), np.int64)
    places = [np.searchsorted(indices, part.indices) for part in parts]
    for part, where in zip(parts, places, strict=True):
        with np.errstate(over="ignore"):
            values[where] += part.values
        touched[where] += 1
    if not np.isfinite(values).all():
        raise InputError(f"tensor '{name}': the sum of the differences is larger than float64 holds.")
    pinned = [where[part.pinned] for part, where in zip(parts, places, strict=True)]
    alone = [touched[each] == 1 for each in pinned]
    pins = np.concatenate([each[kept] for each, kept in zip(pinned, alone, strict=True)])
    results = np.concatenate([part.results[kept] for part, kept in zip(parts, alone, strict=True)])
    order = np.argsort(pins)
    return Entries(indices, values, pins[order].astype(np.int64), results[order])


def _dense_parts(diffs: Sequence[SparseDiff]) -> tuple[dict[str, RawTensor], list[str]]:
    """All dense tensors, and those that differ."""
    dense: dict[str, RawTensor] = {}
    faults = []
    for diff in diffs:
        for name, tensor in diff.dense.items():
            if not _same(dense.setdefault(name, tensor), tensor):
                faults.append(f"tensor '{name}' is held whole by two, and differs: keep one of these heads")
    return dense, faults


def _same(one: RawTensor, other: RawTensor) -> bool:
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return one is other or bool(np.array_equal(bits_of(one.flat), bits_of(other.flat)))


def _configs(diffs: Sequence[SparseDiff]) -> tuple[dict[str, Any], list[str]]:
    """Fields of all configurations, and those that differ."""
    config: dict[str, Any] = {}
    faults = []
    for diff in diffs:
        for key, value in diff.info.config.items():
            if config.setdefault(key, value) != value:
                faults.append(
                    f"field '{key}' of the configuration is {config[key]!r} in one, {value!r} in another"
                )
    return config, faults


def _prefixes(diffs: Sequence[SparseDiff]) -> list[str]:
    known = sorted({diff.info.prefix for diff in diffs if diff.info.prefix})
    return [f"they are for models of different classes ({', '.join(known)})"] if len(known) > 1 else []


def _other_bases(diffs: Sequence[SparseDiff]) -> list[str]:
    first: Mapping[str, object] = diffs[0].info.base
    others = [diff.info.base for diff in diffs[1:]]
    names = {
        name for base in others for name in first.keys() | base.keys() if first.get(name) != base.get(name)
    }
    shown = ", ".join(sorted(names)[:4]) + (", ..." if len(names) > 4 else "")
    return [f"they are of different base models: {len(names)} tensors differ ({shown})"] if names else []
