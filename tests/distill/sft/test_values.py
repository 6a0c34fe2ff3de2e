from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polycompress.distill.sft.values import FLOATS, bits_of, from_float64, to_float64

TORCH = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
ANY = arrays(np.float64, st.integers(0, 40), elements=st.floats(width=64, allow_nan=False))


def torch_raw(values: torch.Tensor) -> np.ndarray:
    return values.view(torch.uint16).numpy() if values.dtype is torch.bfloat16 else values.numpy()


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_every_value_of_sixteen_bits_comes_back(dtype: str) -> None:
    raw = np.arange(1 << 16, dtype=np.uint16).view(FLOATS[dtype])
    wide = to_float64(raw, dtype)
    expected = torch.from_numpy(raw.view(np.int16).copy()).view(TORCH[dtype]).double().numpy()
    np.testing.assert_array_equal(bits_of(wide[~np.isnan(wide)]), bits_of(expected[~np.isnan(expected)]))
    again = from_float64(wide, dtype)
    numbers = ~np.isnan(wide)
    np.testing.assert_array_equal(bits_of(again)[numbers], bits_of(raw)[numbers])
    assert np.isnan(to_float64(again[~numbers], dtype)).all()


@given(ANY)
def test_rounding_is_to_the_nearest_and_of_two_to_the_even(values: np.ndarray) -> None:
    for dtype in ("F32", "F16"):
        expected = torch_raw(torch.from_numpy(values).to(TORCH[dtype]))
        if dtype == "F32":  # torch goes to F16 by way of F32, and so rounds twice
            np.testing.assert_array_equal(bits_of(from_float64(values, dtype)), bits_of(expected))
    for dtype in ("F16", "BF16"):
        found = to_float64(from_float64(values, dtype), dtype)
        low, high = _neighbours(found, dtype)
        with np.errstate(invalid="ignore", over="ignore"):
            finite = np.isfinite(found) & np.isfinite(low) & np.isfinite(high) & np.isfinite(values)
            gap = np.abs(values - found)
            assert (gap <= np.abs(values - low))[finite].all()
            assert (gap <= np.abs(values - high))[finite].all()
            tie = finite & ((gap == np.abs(values - low)) | (gap == np.abs(values - high))) & (gap > 0)
        assert (bits_of(from_float64(found[tie], dtype)) % 2 == 0).all()


def _neighbours(found: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """The values of a type below and above others of it."""
    table = to_float64(np.arange(1 << 16, dtype=np.uint16).view(FLOATS[dtype]), dtype)
    table = np.unique(table[np.isfinite(table)])
    place = np.searchsorted(table, found)
    return table[np.clip(place - 1, 0, None)], table[np.clip(place + 1, None, len(table) - 1)]


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (1 + 2**-8, 0x3F80),  # half way between 1 and the next: to the even one
        (1 + 3 * 2**-8, 0x3F82),
        (1 + 2**-8 + 2**-40, 0x3F81),  # through F32 rounded to nearest this would be taken for half way
        (1 + 3 * 2**-8 - 2**-40, 0x3F81),
        (-(1 + 2**-8 + 2**-40), 0xBF81),
        (2.0**-134, 0x0000),  # half of the smallest
        (2.0**-134 * (1 + 2**-30), 0x0001),
        (-0.0, 0x8000),
        (1e-320, 0x0000),
        (2.0**127 * (2 - 2**-8), 0x7F80),  # half way to infinity
        (2.0**127 * (2 - 2**-8 - 2**-40), 0x7F7F),
        (1e300, 0x7F80),
        (-1e300, 0xFF80),
    ],
)
def test_bfloat16_is_rounded_once(value: float, bits: int) -> None:
    assert int(from_float64(np.array([value]), "BF16")[0]) == bits
