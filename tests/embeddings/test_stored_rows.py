"""Rows of stored tensors: any rows, any type, the same values as the whole tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from polycompress.embeddings.stored_rows import stored_rows
from polycompress.embeddings.stored_table import encode_rows
from polycompress.errors import InputError
from polycompress.modeldir.tensors import open_checkpoint

TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("stored")
    torch.manual_seed(0)
    tensors = {name: torch.randn(23, 5, dtype=torch.float64).to(kind) for name, kind in TYPES.items()}
    tensors["bias"] = torch.randn(23)
    tensors["wide"] = torch.randn(1, 23)
    tensors["whole"] = torch.ones(23, 5, dtype=torch.int8)
    save_file(tensors, root / "model.safetensors")
    return root


@given(rows=st.lists(st.integers(0, 22), max_size=40), name=st.sampled_from(sorted(TYPES)))
def test_rows_come_in_the_order_asked(checkpoint: Path, rows: list[int], name: str) -> None:
    opened = open_checkpoint(checkpoint)
    raw = (checkpoint / "model.safetensors").read_bytes()[
        opened.tensors[name].begin : opened.tensors[name].end
    ]
    whole = torch.frombuffer(bytearray(raw), dtype=TYPES[name]).reshape(23, 5)
    with stored_rows(opened, name, 23) as source:
        found = source[np.array(rows, dtype=np.int64)]
        assert source.shape == (23, 5)
        assert found.dtype == source.dtype
    assert found.tolist() == whole[rows].tolist()
    assert encode_rows(found, name).tobytes() == whole[rows].contiguous().view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("name", ["bias", "wide"])
def test_a_bias_is_a_table_of_one_column(checkpoint: Path, name: str) -> None:
    with stored_rows(open_checkpoint(checkpoint), name, 23) as source:
        assert source.shape == (23, 1)
        assert len(source) == 23
        assert source[np.array([22, 0])].shape == (2, 1)
        with pytest.raises(IndexError):
            source[np.array([23])]


def test_whole_numbers_are_not_averaged(checkpoint: Path) -> None:
    with (
        pytest.raises(InputError, match="'whole' is of type I8"),
        stored_rows(open_checkpoint(checkpoint), "whole", 23),
    ):
        pass
