from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from polycompress.evaluation.packing import pack_counts, unpack_counts

SHAPES = arrays.array_shapes(min_dims=2, max_dims=2, max_side=40)
TABLES = st.one_of(
    arrays.arrays(np.uint16, SHAPES), arrays.arrays(np.float32, SHAPES, elements={"allow_nan": False})
)


@given(TABLES)
def test_what_is_packed_comes_back(counts: np.ndarray[Any, Any]) -> None:
    back = unpack_counts(pack_counts(counts))
    assert back.dtype == counts.dtype
    np.testing.assert_array_equal(back, counts)


def test_only_tables_of_two_types() -> None:
    with pytest.raises(ValueError, match="a table of uint16 or float32, not float64"):
        pack_counts(np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"of shape \(2,\)"):
        pack_counts(np.zeros(2, np.uint16))


PACKED = pack_counts(np.arange(6, dtype=np.uint16).reshape(3, 2))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dtype": "object"}, "'dtype' must be one of"),
        ({"data": 3}, "and 'data' text"),
        ({"rows": -1}, "'rows' is -1"),
        ({"rows": True}, "'rows' is True"),
        ({"columns": 1 << 40}, "no sizes of a table"),
        ({"data": "!"}, "'data' is damaged"),
        ({"data": base64.b64encode(b"nothing").decode()}, "'data' is damaged"),
        ({"rows": 4}, "'data' holds 12 bytes or more where 16 were announced"),
        ({"data": base64.b64encode(zlib.compress(bytes(1 << 24))).decode()}, "'data' holds 13 bytes or more"),
    ],
)
def test_damage(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unpack_counts({**PACKED, **changed})
    with pytest.raises(ValueError, match="is no object"):
        unpack_counts([])
