"""Raw values of tensors as float64 and back: exactly there, rounded once to nearest even on the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Raw = NDArray[Any]
"""Values as ``modeldir.read_tensor`` gives them: numpy's own type, for BF16 the bits as uint16."""

FLOATS: Final[Mapping[str, np.dtype[Any]]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}
"""Types that have differences, in the spelling of safetensors, and how their raw values lie in memory."""


@dataclass(frozen=True, slots=True, eq=False)
class RawTensor:
    """A tensor as it lies in a file."""

    dtype: str
    """In the spelling of safetensors."""
    values: Raw
    """Of any shape."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of its axes."""
        return tuple(self.values.shape)

    @property
    def flat(self) -> Raw:
        """All values, in the order of memory, shape (N,)."""
        return np.ascontiguousarray(self.values).reshape(-1)


def bits_of(values: Raw) -> Raw:
    """The bits of values as unsigned integers of the same width: -0.0 is not 0.0, and a NaN equals itself."""
    return values.view(f"<u{values.dtype.itemsize}")


def to_float64(raw: Raw, dtype: str) -> NDArray[np.float64]:
    """Values as float64, exactly.

    Args:
        raw: Of any shape, in the memory type of ``FLOATS``.
        dtype: A key of ``FLOATS``.
    """
    with np.errstate(invalid="ignore"):  # of a signalling NaN
        if dtype == "BF16":
            return (raw.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        return raw.astype(np.float64)


def from_float64(values: NDArray[np.float64], dtype: str) -> Raw:
    """Values in a narrower type, rounded once, to nearest even; what is too large becomes infinite.

    Args:
        values: Of any shape, float64.
        dtype: A key of ``FLOATS``.
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if dtype == "BF16":
            return _to_bfloat16(values)
        return values.astype(FLOATS[dtype])


def _to_bfloat16(values: NDArray[np.float64]) -> Raw:
    """Through float32 rounded to odd, which a second rounding cannot mislead.

    Reference: Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to
    odd" (IEEE Transactions on Computers 57(4), 2008), theorem 3.
    """
    near = values.astype(np.float32)
    outside = np.abs(near.astype(np.float64)) > np.abs(values)
    toward_zero = np.where(outside, np.nextafter(near, np.float32(0)), near)
    bits = toward_zero.view(np.uint32)
    bits |= (toward_zero.astype(np.float64) != values).astype(np.uint32)  # whatever was cut off makes it odd
    kept = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), (bits >> 16) | 0x40, kept).astype("<u2")
