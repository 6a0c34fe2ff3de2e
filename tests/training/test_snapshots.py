from __future__ import annotations

import errno
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import StorageError
from polycompress.training import snapshots
from polycompress.training.errors import SnapshotMismatchError
from polycompress.training.snapshots import (
    best_snapshot,
    check_identity,
    find_snapshot,
    load_snapshot,
    newest_snapshot,
    prune_snapshots,
    save_snapshot,
)

IDENTITY = {"model": {"config.json": "ab"}, "training": {"steps": 9, "optimiser": {"learning_rate": 0.1}}}


def parts(value: float = 1.0) -> dict[str, Any]:
    return {
        "model": {
            "a.weight": torch.full((3, 2), value),
            "scale": torch.tensor(value),
            "none": torch.empty(0, 4),
        },
        "optimiser": {
            "state": {0: {"step": torch.tensor(3.0), "moment": torch.rand(2, 3).t()}, 7: {}},
            "groups": [{"lr": 0.1 + 0.2, "betas": (0.9, 0.98), "fused": True, "foreach": None}],
            "decay_sum": -1.2345678901234567e-9,
        },
        "state": {"step": 3, "names": ["ä", "b/c"]},
    }


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return (
            type(one) is type(other)
            and len(one) == len(other)
            and all(equal(a, b) for a, b in zip(one, other, strict=True))
        )
    return type(one) is type(other) and one == other


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    saved = parts()
    path = save_snapshot(tmp_path, 3, saved, IDENTITY, score=0.5)
    assert path == tmp_path / "step-3"
    found = newest_snapshot(tmp_path)
    assert found is not None
    assert (found.step, found.score, found.path) == (3, 0.5, path)
    assert equal(load_snapshot(found), saved)
    assert not {".bin", ".pt", ".pkl"} & {file.suffix for file in path.iterdir()}


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
     torch.int8, torch.uint8, torch.bool],
)  # fmt: skip
def test_every_type_of_tensor(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {"t": torch.tensor([[0, 1], [1, 0]]).to(dtype), "empty": torch.empty(0, dtype=dtype)}
    save_snapshot(tmp_path, 1, {"part": tensors}, {})
    found = newest_snapshot(tmp_path)
    assert found is not None
    assert equal(load_snapshot(found)["part"], tensors)


NESTED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(NESTED)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    tensors: dict[str, torch.Tensor] = {}
    tree = snapshots._flatten(value, "", tensors)
    assert equal(snapshots._unflatten(json.loads(json.dumps(tree)), tensors), value)


def test_what_cannot_be_held_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"a snapshot cannot hold a set \(/x\)"):
        save_snapshot(tmp_path, 1, {"part": {"x": {1, 2}}}, {})
    assert names(tmp_path) == []


def test_a_snapshot_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    save_snapshot(tmp_path, 3, parts(1.0), IDENTITY)
    save_snapshot(tmp_path, 3, parts(2.0), IDENTITY)
    found = newest_snapshot(tmp_path)
    assert found is not None
    assert float(load_snapshot(found)["model"]["scale"]) == 2.0
    assert names(tmp_path) == ["step-3"]


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("name", "harm", "said"),
    [
        ("model.safetensors", cut, r"model.safetensors has \d+ bytes instead of \d+"),
        ("model.safetensors", flip, "model.safetensors has changed since it was written"),
        ("optimiser.safetensors", Path.unlink, "optimiser.safetensors is missing"),
        ("optimiser.json", cut, "optimiser.json has"),
        ("snapshot.json", cut, "snapshot.json cannot be read"),
        ("snapshot.json", Path.unlink, "snapshot.json cannot be read"),
        ("config.json", flip, "config.json has changed"),
    ],
)
def test_the_newest_whole_one_is_taken_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, harm: Any, said: str
) -> None:
    for step in (2, 10, 9):
        save_snapshot(tmp_path, step, parts(step), IDENTITY)
    harm(tmp_path / "step-10" / name)
    with caplog.at_level(logging.WARNING):
        found = newest_snapshot(tmp_path)
    assert found is not None
    assert found.step == 9
    assert f"{tmp_path / 'step-10'} is not whole" in caplog.text
    assert f"going on from {tmp_path / 'step-9'} instead" in caplog.text
    assert re.search(said, caplog.text)


def test_no_whole_snapshot_at_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert newest_snapshot(tmp_path / "none") is None
    save_snapshot(tmp_path, 1, parts(), IDENTITY)
    cut(tmp_path / "step-1" / "model.safetensors")
    assert newest_snapshot(tmp_path) is None
    assert "there is no whole snapshot to go on from" in caplog.text


def test_names_in_a_header_cannot_lead_elsewhere(tmp_path: Path) -> None:
    save_snapshot(tmp_path, 1, parts(), IDENTITY)
    header = tmp_path / "step-1" / "snapshot.json"
    document = json.loads(header.read_text())
    document["files"]["../../secret.json"] = [1, "ab"]
    header.write_text(json.dumps(document))
    assert newest_snapshot(tmp_path) is None


def test_another_run_is_refused_and_every_difference_named(tmp_path: Path) -> None:
    save_snapshot(tmp_path, 1, parts(), IDENTITY)
    found = newest_snapshot(tmp_path)
    assert found is not None
    check_identity(found, IDENTITY)
    other = {"model": {"config.json": "cd"}, "training": {"steps": 9, "optimiser": {"learning_rate": 0.2}}}
    with pytest.raises(SnapshotMismatchError) as caught:
        check_identity(found, other)
    assert "  model.config.json: 'ab' there, 'cd' now" in str(caught.value)
    assert "  training.optimiser.learning_rate: 0.1 there, 0.2 now" in str(caught.value)
    assert "steps" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_the_last_ones_and_the_best_stay(tmp_path: Path) -> None:
    for step, score in ((1, 3.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, None), (6, 2.5)):
        save_snapshot(tmp_path, step, {"state": {}}, {}, score=score)
    assert best_snapshot(tmp_path) == find_snapshot(tmp_path, 3)
    gone = prune_snapshots(tmp_path, keep_last=2, keep_best=True)
    assert sorted(path.name for path in gone) == ["step-1", "step-2", "step-4"]
    assert names(tmp_path) == ["step-3", "step-5", "step-6"]
    prune_snapshots(tmp_path, keep_last=1, keep_best=False)
    assert names(tmp_path) == ["step-6"]


def test_a_full_disk_leaves_the_older_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_snapshot(tmp_path, 1, parts(), IDENTITY)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(snapshots, "write_tensors", full)
    with pytest.raises(StorageError, match="step-2: could not be written: the disk is full"):
        save_snapshot(tmp_path, 2, parts(), IDENTITY)
    assert names(tmp_path) == ["step-1"]
    found = newest_snapshot(tmp_path)
    assert found is not None
    assert found.step == 1
