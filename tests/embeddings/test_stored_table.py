from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from polycompress.embeddings import blocks
from polycompress.embeddings.stored_table import StoredTable, decode_rows, encode_rows, encoded_blocks
from polycompress.errors import InputError
from polycompress.modeldir.tensors import open_checkpoint


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_rows_come_as_they_are_stored(dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4 * 5 * 3)
    wanted = torch.randn(11, 5, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    save_file({"a": torch.zeros(3), "table": wanted}, tmp_path / "model.safetensors")
    table = StoredTable(open_checkpoint(tmp_path), "table")
    assert table.shape == (11, 5) and len(list(table.blocks())) == 4
    assert np.array_equal(table.read(), wanted.float().numpy())
    again = np.concatenate(list(encoded_blocks(table, table.dtype)))
    if dtype != "float64":
        bits = np.uint32 if dtype == "float32" else np.uint16
        kind = torch.int32 if dtype == "float32" else torch.int16
        assert np.array_equal(again.view(bits), wanted.view(kind).numpy().view(bits))


@given(st.lists(st.floats(width=32, allow_nan=False, allow_subnormal=False), min_size=1))
def test_rounding_to_bfloat16_is_that_of_torch(values: list[float]) -> None:
    rows = np.array([values], np.float32)
    wanted = torch.from_numpy(rows).bfloat16().float().numpy()
    assert np.array_equal(decode_rows(encode_rows(rows, "BF16"), "BF16"), wanted)


def test_what_a_type_does_not_hold_is_said() -> None:
    with pytest.raises(InputError, match=r"larger than the type F16 holds"):
        encode_rows(np.array([[7e4]], np.float32), "F16")


def test_tensors_that_are_no_tables_are_refused(tmp_path: Path) -> None:
    save_file(
        {"flat": torch.zeros(3), "ids": torch.zeros(2, 2, dtype=torch.int64)}, tmp_path / "model.safetensors"
    )
    checkpoint = open_checkpoint(tmp_path)
    with pytest.raises(InputError, match=r"tensor 'flat' has the shape \[3\]"):
        StoredTable(checkpoint, "flat")
    with pytest.raises(InputError, match="tensor 'ids' is of type I64"):
        StoredTable(checkpoint, "ids")
    with pytest.raises(InputError, match="no tensor 'other'"):
        StoredTable(checkpoint, "other")
