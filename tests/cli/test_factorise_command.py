from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command_line import invoke, refused
from tests.tiny_models import make_tiny


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("xlm-roberta", "mlm", tmp_path_factory.mktemp("models") / "plain", vocab_size=350)


def test_factorise_and_export(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, plain = tmp_path / "f", tmp_path / "plain"
    done = invoke(capsys, "factorise", source, "--rank", "6", "--out", out)
    assert done.code == 0, done.err
    assert "at rank 6" in done.out and "all tokens alike" in done.out
    assert f"written to {out}" in done.out.replace("\n", "")
    made = invoke(capsys, "ofa", "export", out, "--dense", "--out", plain, "--json")
    assert made.code == 0, made.err
    assert json.loads(made.out)["rank"] == 6 and (plain / "model.safetensors").is_file()
    shown = invoke(capsys, "ofa", "export", out, "--dense", "--out", plain, "--overwrite")
    assert shown.code == 0 and "rank 6 written out" in shown.out


def test_a_dry_run(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = invoke(capsys, "factorise", source, "--rank", "16", "--split", "paper", "--dry-run", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["out"] is None and found["relative_error"] < 1e-5 and found["split"] == "paper"
    assert "nothing is saved" in found["notes"][0]


def test_what_cannot_be_is_refused(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, tmp_path, "factorise", source, "--rank", "17", "--out", tmp_path / "x")
    assert "rank 17: the table is 16 wide" in message
    assert "--out" in refused(capsys, tmp_path, "factorise", source, "--rank", "3")
    assert "give --dense" in refused(capsys, tmp_path, "ofa", "export", source, "--out", tmp_path / "x")
    assert "plain already" in refused(
        capsys, tmp_path, "ofa", "export", source, "--dense", "--out", tmp_path / "x"
    )
