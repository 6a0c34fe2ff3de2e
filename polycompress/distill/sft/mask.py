"""Which weights a sparse fine-tuning trains: those that a full fine-tuning moved furthest, over all tensors at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError

Mask = Mapping[str, NDArray[np.int64]]
"""By name of a tensor the chosen places among its values in the order of memory, increasing, (K,)."""

CHUNK: Final = 1 << 20
"""Values looked at together."""
_DIGIT_BITS: Final = 16


def choose_mask(changes: Mapping[str, NDArray[np.floating[Any]]], k: int) -> dict[str, NDArray[np.int64]]:
    """The K largest changes over all tensors; exactly K, whatever ties there are.

    Of equal ones those are taken whose tensor comes first by name, then those that come first in it. The K-th largest
    is found digit by digit, by histograms of sixteen bits of the changes as float64: four passes, no sorting. Besides
    the changes and the K places that are returned, memory is needed for a few chunks of ``CHUNK`` values.

    Args:
        changes: By name, of any shapes and floating types; signs do not count. Arrays that are one piece of memory,
            as those of tied tensors are, count once, under the first name.
        k: How many; 0 to all.

    Returns:
        For each name, without those of tied tensors after the first, the places that are chosen; some have none.

    Raises:
        InputError: A change is no finite number, or there are fewer than K.

    Reference: Ansell, Ponti, Korhonen and Vulic, "Composable Sparse Fine-Tuning for Cross-Lingual Transfer" (ACL 2022),
    section 3.1. The published code takes all that reach a threshold, which ties can make more than K.
    """
    names = _once(changes)
    total = sum(changes[name].size for name in names)
    if not 0 <= k <= total:
        raise InputError(f"{k} weights are to be chosen of {total}: give 0 to {total}, or a lower density.")
    for name in names:
        if not all(np.isfinite(part).all() for part in _parts(changes[name])):
            raise InputError(f"tensor '{name}': a change is no finite number. Did the fine-tuning diverge?")
    least, ties = _threshold(changes, names, k)
    mask = {}
    for name in names:
        found = []
        for start, bits in _chunks(changes[name]):
            chosen = bits > least
            equal = np.flatnonzero(bits == least)[:ties]
            chosen[equal] = True
            ties -= len(equal)
            found.append(np.flatnonzero(chosen) + start)
        mask[name] = np.concatenate(found).astype(np.int64) if found else np.zeros(0, np.int64)
    return mask


def _once(changes: Mapping[str, NDArray[Any]]) -> list[str]:
    """Names in order, of arrays that share their memory the first."""
    known: dict[tuple[object, ...], str] = {}
    for name in sorted(changes):
        array = changes[name]
        place = (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str)
        known.setdefault(place if array.size else (name,), name)
    return list(known.values())


def _threshold(changes: Mapping[str, NDArray[Any]], names: list[str], k: int) -> tuple[np.uint64, int]:
    """Bits of the K-th largest change, and how many of those that equal it are chosen."""
    if k == 0:
        return np.uint64(np.iinfo(np.uint64).max), 0
    prefix, left = 0, k
    for shift in range(64 - _DIGIT_BITS, -1, -_DIGIT_BITS):
        histogram = np.zeros(1 << _DIGIT_BITS, np.int64)
        for name in names:
            for _, bits in _chunks(changes[name]):
                if shift + _DIGIT_BITS < 64:
                    bits = bits[bits >> np.uint64(shift + _DIGIT_BITS) == np.uint64(prefix)]
                digits = (bits >> np.uint64(shift)) & np.uint64((1 << _DIGIT_BITS) - 1)
                histogram += np.bincount(digits.astype(np.int64), minlength=len(histogram))
        at_least = np.cumsum(histogram[::-1])[::-1]  # how many have this digit or a higher one
        digit = int(np.flatnonzero(at_least >= left)[-1])
        left -= int(at_least[digit] - histogram[digit])
        prefix = prefix << _DIGIT_BITS | digit
    return np.uint64(prefix), left


def _chunks(values: NDArray[Any]) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    """Where each chunk begins, and magnitudes as bits: of numbers that are not negative, these rise with them."""
    start = 0
    for part in _parts(values):
        yield start, np.abs(part.astype(np.float64)).view(np.uint64)
        start += len(part)


def _parts(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    flat = values.reshape(-1)
    for start in range(0, len(flat), CHUNK):
        yield flat[start : start + CHUNK]
