"""``polycompress export`` as it is typed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.command_line import PROGRAM, environment, invoke, refused
from tests.evaluation.tiny_task_models import tiny
from tests.pipelines.tiny_pack import CATEGORIES, make_pack
from tests.tiny_models import TEXTS


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    (root / "text.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    make_pack(root / "data")
    return tiny("distilbert", "sequence", root / "topics", CATEGORIES)


def test_a_graph_in_eight_bits_with_scores(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    monkeypatch.setenv("COLUMNS", "120")
    root, out = model.parent, tmp_path / "out"
    asked = ("--onnx", "--int8", "--reduce-range", "--text", root / "text.txt", "--out", out)
    scored = ("--task", "sib200", "--langs", "de,sw", "--data", root / "data", "--limit", "5")
    outcome = invoke(capsys, "export", model, *asked, *scored)
    assert outcome.code == 0, outcome.err
    for part in (
        "topics: weights", "it gives logits", "fp32", "int8", "100.0 %", "in 7 bits, 2 tables in 8; 4 products",
        "sib200, accuracy", "deu-Latn", "swh-Latn", "17 texts", "lines of the given text", f"written to {out}",
    ):  # fmt: skip
        assert part in outcome.out, part
    found = invoke(capsys, "export", model, *asked, "--json", "--overwrite")
    assert found.code == 0, found.err
    assert json.loads(found.out)["quantised"]["bits"] == 7
    assert (
        "seven bits" not in (out / "README.md").read_text() and "VNNI" not in (out / "README.md").read_text()
    )


def test_sentence_transformers(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("export", model, "--sentence-transformers", "--pooling", "cls", "--out", tmp_path / "out")
    outcome = invoke(capsys, *asked)
    assert outcome.code == 0, outcome.err
    assert "topics: vectors of texts are made by pooling (cls)" in outcome.out
    assert json.loads((tmp_path / "out" / "modules.json").read_text())[1]["path"] == "1_Pooling"
    found = json.loads(invoke(capsys, *asked, "--overwrite", "--json").out)
    assert found == {"out": str(tmp_path / "out"), "source": "topics", "pooling": "cls"}


def test_what_is_wrong_is_said(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert "say which form to write: --onnx or --sentence-transformers" in refused(
        capsys, tmp_path, "export", model, "--out", out
    )
    assert "are two forms, and one is written at a time: leave one out" in refused(
        capsys, tmp_path, "export", model, "--onnx", "--sentence-transformers", "--out", out
    )
    asked = ("--int8", "--body", "--text", "x.txt")
    assert "--int8 and --body and --text: only with --onnx" in refused(
        capsys, tmp_path, "export", model, "--sentence-transformers", *asked, "--out", out
    )
    assert "--pooling: only with --sentence-transformers" in refused(
        capsys, tmp_path, "export", model, "--onnx", "--pooling", "mean", "--out", out
    )
    assert "--reduce-range is of --int8: give both" in refused(
        capsys, tmp_path, "export", model, "--onnx", "--reduce-range", "--out", out
    )
    assert "no such directory" in refused(
        capsys, tmp_path, "export", tmp_path / "none", "--onnx", "--out", out
    )


@pytest.mark.parametrize(("lacking", "extra"), [("torch", "train,onnx"), ("onnxscript", "onnx")])
def test_without_a_package_it_says_what_to_install(
    model: Path, tmp_path: Path, lacking: str, extra: str
) -> None:
    (tmp_path / f"{lacking}.py").write_text(
        f"raise ModuleNotFoundError(\"No module named '{lacking}'\", name='{lacking}')"
    )
    settings = environment()
    settings["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{settings['PYTHONPATH']}"
    done = subprocess.run(
        [*PROGRAM, "export", str(model), "--onnx", "--out", str(tmp_path / "out")],
        capture_output=True, text=True, env=settings, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert f"pip install 'polycompress[{extra}]'" in done.stderr
    assert not (tmp_path / "out").exists()
