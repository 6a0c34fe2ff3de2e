"""The cut itself: which rows of which tensors."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from polycompress.modeldir.axes import VocabAxes
from polycompress.modeldir.tensors import RowSlice

MASKED: Final = -1e4
"""Bias of rows that pad a table: no token, so no probability."""


def vocab_slices(axes: VocabAxes, keep_ids: NDArray[np.int64], pad_rows: int = 0) -> dict[str, RowSlice]:
    """One slice for every tensor with a vocabulary axis.

    Args:
        axes: Which tensors those are.
        keep_ids: (K,) source rows to keep.
        pad_rows: Rows to add that no token reaches: zeros in tables, ``MASKED`` in biases.

    Returns:
        Slices by tensor name.
    """
    return {
        name: RowSlice(axis, keep_ids, pad_rows, MASKED if name in axes.biases else 0.0)
        for name, tensor_axes in axes.axes.items()
        for axis in tensor_axes
    }
