"""Randomness without a generator: numbers that depend on what they are for, not on what was drawn before.

``SplitMix64``'s finaliser (variant 13 of Stafford's mixers) turns counters into independent-looking 64-bit words; a
Feistel network over such words shuffles a range of any size without holding it.

Reference:
    Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014), section 3.
    Luby and Rackoff, "How to construct pseudorandom permutations from pseudorandom functions" (1988).
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)
_ROUNDS: Final = 8
_SMALLEST_HALF: Final = 2
"""Bits; a network over fewer than four bits has too few functions to choose from."""


def check_seed(seed: int) -> int:
    """A seed that fits a 64-bit word.

    Raises:
        InputError: It does not.
    """
    if not 0 <= seed < 2**64:
        raise InputError(f"The seed {seed!r} is not between 0 and 2 ** 64 - 1.")
    return seed


def hashed(*words: int | NDArray[Any]) -> NDArray[np.uint64]:
    """One 64-bit word for each tuple of words; another word anywhere gives an unrelated one.

    Args:
        words: Whole numbers, 0 to 2 ** 64 - 1, or arrays of such; they are broadcast.

    Returns:
        An array of the broadcast shape, (1,) where no word is an array.
    """
    state = np.zeros(1, dtype=np.uint64)
    for word in words:
        counter = np.atleast_1d(np.asarray(word)).astype(np.uint64, copy=False)
        state = _mix((state ^ counter) + _GOLDEN)
    return state


def uniform(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Words as numbers in [0, 1), of their highest 53 bits."""
    return np.asarray((words >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def below(words: NDArray[np.uint64], limit: int) -> NDArray[np.int64]:
    """Words as whole numbers from 0 to ``limit - 1``, of their lowest 32 bits; ``limit`` is at most 2 ** 31."""
    low = words & np.uint64(0xFFFFFFFF)
    return ((low * np.uint64(limit)) >> np.uint64(32)).astype(np.int64)


def name_word(name: str) -> int:
    """A word for a name, so that it can take part in a hash."""
    return zlib.crc32(name.encode())


def shuffled(positions: NDArray[np.int64], size: int, *key: int) -> NDArray[np.int64]:
    """Where a shuffle of ``0 .. size - 1`` takes some positions, without making the shuffle.

    Args:
        positions: (n,) 0 to ``size - 1``.
        size: Of the range, at least 1; memory does not grow with it.
        key: Another key, another shuffle.

    Returns:
        (n,) distinct where the positions are; all positions together give the whole range.
    """
    half = max(_SMALLEST_HALF, ((size - 1).bit_length() + 1) // 2)
    result = positions.astype(np.uint64)
    outside = np.ones(len(result), dtype=bool)
    keys = hashed(*key, np.arange(_ROUNDS))
    while outside.any():  # walking on from outside stays on the cycle, so no two positions can meet
        result[outside] = _network(result[outside], half, keys)
        outside = result >= np.uint64(size)
    return result.astype(np.int64)


def _network(values: NDArray[np.uint64], half: int, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A permutation of the numbers of twice ``half`` bits."""
    bits, low = np.uint64(half), np.uint64(2**half - 1)
    left, right = values >> bits, values & low
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & low)
    return (left << bits) | right


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))
