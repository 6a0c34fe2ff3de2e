from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from polycompress.pipelines.sft import diff_models
from tests.command_line import invoke, refused
from tests.modeldir.helpers import load_raw
from tests.tiny_models import make_tiny

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    base = make_tiny("xlm-roberta", "mlm", root / "base", vocab_size=350)
    for name, shift in (("one", 1.0), ("two", -1.0)):
        shutil.copytree(base, root / name)
        tensors = load_file(root / name / WEIGHTS)
        for tensor in tensors.values():
            tensor.reshape(-1)[::9] += np.float32(shift)
        save_file(tensors, root / name / WEIGHTS, metadata={"format": "pt"})
        diff_models(base, root / name, out=root / f"{name}.diff", notes=["a note"])
    return root


def test_diff_apply_show(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "task.diff", tmp_path / "out"
    taken = invoke(capsys, "sft", "diff", models / "base", models / "one", "--out", file, "--note", "why")
    assert taken.code == 0, taken.err
    assert "values changed" in taken.out and f"written to {file}" in taken.out.replace("\n", "")
    done = invoke(capsys, "sft", "apply", file, "--to", models / "base", "--out", out)
    assert done.code == 0, done.err
    assert f"written to {out}" in done.out.replace("\n", "")
    assert load_raw(out / WEIGHTS) == load_raw(models / "one" / WEIGHTS)
    shown = invoke(capsys, "sft", "show", file)
    assert shown.code == 0
    for part in ("why", "11.", "tensors kept whole", "embeddings"):
        assert part in shown.out


def test_json_is_one_object(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(invoke(capsys, "sft", "show", models / "one.diff", "--json").out)
    arguments = ("--to", models / "base", "--out", tmp_path / "out", "--json")
    done = json.loads(invoke(capsys, "sft", "apply", models / "one.diff", *arguments).out)
    file = tmp_path / "x.diff"
    taken = json.loads(
        invoke(capsys, "sft", "diff", models / "base", models / "one", "--out", file, "--json").out
    )
    assert shown["digest"] == done["digest"] == taken["digest"]
    assert (done["out"], taken["out"]) == (str(tmp_path / "out"), str(file))
    assert shown["notes"] == ["a note"]


def test_several_in_any_order(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [models / "one.diff", models / "two.diff"]
    for name, order in (("a", files), ("b", files[::-1])):
        done = invoke(capsys, "sft", "apply", *order, "--to", models / "base", "--out", tmp_path / name)
        assert done.code == 0, done.err
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()


def test_another_base_model(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(
        capsys,
        tmp_path,
        "sft",
        "apply",
        models / "one.diff",
        "--to",
        models / "two",
        "--out",
        tmp_path / "out",
    )
    assert "is not the model that these differences were made for" in message
    assert "lm_head.bias" in message


def test_wrong_requests(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, tmp_path, "sft", "show", models / "base" / WEIGHTS)
    assert "is a safetensors file, but no sparse difference" in message
    message = refused(
        capsys, tmp_path, "sft", "diff", models / "base", models / "none", "--out", tmp_path / "x"
    )
    assert "no such directory" in message
    for arguments, part in (
        (("sft", "apply", "--to", "demo", "--out", "x"), "Missing argument 'DIFF...'"),
        (("sft", "apply", "x.diff", "--out", "x"), "Missing option '--to'"),
        (("sft", "aply"), "No such command 'aply'"),
    ):
        outcome = invoke(capsys, *arguments)
        assert outcome.code == 2
        assert part in outcome.err


@pytest.mark.parametrize("command", ["apply", "diff", "show"])
def test_help_shows_examples(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    outcome = invoke(capsys, "sft", command, "-h")
    assert outcome.code == 0
    assert outcome.out.count(f"polycompress sft {command} ") >= 2
