from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from polycompress.modeldir.rewriting import copy_beside, write_exchanged
from polycompress.modeldir.tensors import open_checkpoint
from tests.tampering import FIRST, INDEX, SECOND, shards
from tests.tiny_models import make_tiny

TENSORS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.arange(4, dtype=np.float16),
    "c": np.array([True, False, True]),
}


def test_one_tensor_gives_way_to_two_and_another_to_none(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "model.safetensors", metadata={"format": "pt"})
    out = tmp_path / "out"
    out.mkdir()
    left, right = np.ones((2, 1), np.float32), [np.zeros(2, np.float16), b"\0\0"]
    told: list[int] = []
    report = write_exchanged(
        open_checkpoint(tmp_path),
        out,
        {"a": {"a.left": ("F32", (2, 1), left), "a.right": ("F16", (1, 3), right)}, "c": {}},
        progress=told.append,
    )
    found = load_file(out / "model.safetensors")
    assert sorted(found) == ["a.left", "a.right", "b"]
    assert np.array_equal(found["a.left"], left) and np.array_equal(found["b"], TENSORS["b"])
    assert (report.parameters, report.nbytes, sum(told)) == (9, 22, 22)
    assert open_checkpoint(out).metadata["model.safetensors"] == {"format": "pt"}


def test_shards_keep_their_names_and_the_index_follows(tmp_path: Path) -> None:
    source = make_tiny("bert", "mlm", tmp_path / "source", vocab_size=300)
    shards(source)
    checkpoint = open_checkpoint(source)
    table = "bert.embeddings.word_embeddings.weight"
    home = checkpoint.tensors[table].file
    out = tmp_path / "out"
    out.mkdir()
    report = write_exchanged(checkpoint, out, {table: {"x": ("F32", (1,), np.ones(1, np.float32))}})
    other = SECOND if home == FIRST else FIRST
    assert report.sliced == (home,) and report.copied == (other,)
    assert (out / other).read_bytes() == (source / other).read_bytes()
    index = json.loads((out / INDEX).read_text())
    assert index["weight_map"]["x"] == home and table not in index["weight_map"]
    assert index["metadata"]["total_size"] == report.nbytes
    assert open_checkpoint(out).tensors.keys() == (checkpoint.tensors.keys() - {table}) | {"x"}


def test_names_that_are_unknown_or_taken_are_refused(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path)
    with pytest.raises(ValueError, match="no such tensor"):
        write_exchanged(checkpoint, tmp_path, {"z": {}})
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match="two tensors of the result are called 'b'"):
        write_exchanged(checkpoint, tmp_path / "out", {"a": {"b": ("F32", (1,), b"\0\0\0\0")}})


def test_what_stays_true_is_copied(tmp_path: Path) -> None:
    source = make_tiny("xlm-roberta", "base", tmp_path / "source", vocab_size=300)
    (source / "sentencepiece.bpe.model").write_bytes(b"x")
    (source / "LICENSE").write_text("free")
    (source / "generation_config.json").write_text("{}")
    (source / "pytorch_model.bin").write_bytes(b"pickle")
    out = tmp_path / "out"
    out.mkdir()
    assert sorted(copy_beside(source, out)) == [
        "LICENSE",
        "generation_config.json",
        "sentencepiece.bpe.model",
    ]
    assert (out / "LICENSE").read_text() == "free" and not (out / "pytorch_model.bin").exists()
