"""Checkpoints by slice: one door to parsing, reading, writing and comparing safetensors files."""

from __future__ import annotations

from polycompress.modeldir.checkpoint import INDEX_FILE, SINGLE_FILE, Checkpoint, open_checkpoint
from polycompress.modeldir.comparing import RowCheck, compare_others, compare_rows
from polycompress.modeldir.header import DTYPE_BITS, TensorInfo
from polycompress.modeldir.rawio import sha256_file
from polycompress.modeldir.slices import RowSlice, read_rows, read_tensor
from polycompress.modeldir.writing import WriteReport, write_sliced, write_tensors

__all__ = [
    "DTYPE_BITS", "INDEX_FILE", "SINGLE_FILE", "Checkpoint", "RowCheck", "RowSlice", "TensorInfo",
    "WriteReport", "compare_others", "compare_rows", "open_checkpoint", "read_rows", "read_tensor",
    "sha256_file", "write_sliced", "write_tensors",
]  # fmt: skip
