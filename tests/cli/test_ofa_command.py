"""``polycompress ofa``: MODEL and export beside each other, what is printed, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polycompress.pipelines.tokenizer import train_tokenizer
from tests.command_line import invoke
from tests.pipelines.initialising.worlds import write_corpora, write_vectors
from tests.tiny_models import make_tiny

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    make_tiny("xlm-roberta", "mlm", root / "model")
    write_vectors(root / "vectors")
    train_tokenizer(write_corpora(root), size=80, out=root / "tok")
    return root


def test_a_model_is_extended_and_the_plan_printed(world: Path, capsys: Capture, tmp_path: Path) -> None:
    done = invoke(
        capsys, "ofa", world / "model", "--extend", "yo,ig", "--corpus", f"yo={world / 'yor-Latn.txt'}",
        "--corpus", f"ig={world / 'ibo-Latn.txt'}", "--pieces", "60", "--vectors", world / "vectors",
        "--check", f"en={world / 'eng-Latn.txt'}", "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.code == 0
    for told in (
        "extended for Yoruba, Igbo: ofa", "kept: the source's own token", "weighted average of similar source tokens",
        "tokens by language", "tokens per word", "cut otherwise than before", "written to",
        "word vectors say something of",
    ):  # fmt: skip
        assert told in done.out, told
    manifest = json.loads((tmp_path / "out" / "polycompress.json").read_text())
    assert manifest["command"][0] == "polycompress"


def test_json_is_one_object_and_a_dry_run_writes_nothing(
    world: Path, capsys: Capture, tmp_path: Path
) -> None:
    done = invoke(
        capsys, "ofa", world / "model", "--tokenizer", world / "tok", "--vectors", world / "vectors", "--rank", "6",
        "--dry-run", "--json", "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.code == 0
    found = json.loads(done.out)
    assert found["factorisation"]["rank"] == 6
    assert found["out"] is None
    assert not (tmp_path / "out").exists()
    done = invoke(
        capsys,
        "ofa",
        world / "model",
        "--tokenizer",
        world / "tok",
        "--vectors",
        world / "vectors",
        "--rank",
        "6",
        "--dry-run",
    )
    assert "relative error" in done.out
    assert "nothing was written (--dry-run)" in done.out


def test_export_is_a_command_and_everything_else_a_model(
    world: Path, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = invoke(
        capsys, "ofa", world / "model", "--tokenizer", world / "tok", "--init", "random", "--rank", "4", "--out",
        tmp_path / "small",
    )  # fmt: skip
    assert done.code == 0
    done = invoke(capsys, "ofa", "export", tmp_path / "small", "--dense", "--out", tmp_path / "plain")
    assert done.code == 0
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plain").rename(tmp_path / "export")
    # Options may stand first, and a directory called export is ./export.
    done = invoke(capsys, "ofa", "--init", "random", "--tokenizer", world / "tok", "./export", "--dry-run")
    assert done.code == 0
    assert "export with the tokenizer tok: random" in done.out


def test_help_tells_of_both(capsys: Capture) -> None:
    for arguments in (["ofa", "--help"], ["ofa"]):
        done = invoke(capsys, *arguments)
        assert "MODEL" in done.out + done.err
        assert "export" in done.out + done.err
    done = invoke(capsys, "ofa", "MODEL", "--help")
    assert done.code == 0
    assert "--extend" in done.out
    assert "--neighbours" in done.out
    done = invoke(capsys, "ofa", "anything", "--help")
    assert "--extend" in done.out


def test_faults_are_told_together_and_end_with_two(world: Path, capsys: Capture, tmp_path: Path) -> None:
    done = invoke(capsys, "ofa", world / "model", "--rank", "0", "--temperature", "-1")
    assert done.code == 2
    for told in (
        "no output directory",
        "there are no new tokens",
        "--rank 0",
        "--temperature -1.0",
        "needs word vectors",
    ):
        assert told in " ".join(done.err.split()), told
    done = invoke(
        capsys, "ofa", tmp_path / "nothing", "--tokenizer", world / "tok", "--init", "pieces", "--dry-run"
    )
    assert done.code == 2
    assert "no such directory" in done.err
