from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from polycompress.cli.training_view import describe
from tests.command_line import PROGRAM, environment, invoke, refused
from tests.pipelines.tiny_pack import make_pack
from tests.tiny_models import make_tiny


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("table")
    make_tiny("xlm-roberta", "base", root / "model", vocab_size=350)
    make_pack(root / "data")
    return root


def arguments(table: Path, *more: str, out: str = "run") -> list[str]:
    return [
        "finetune", str(table / "model"), "--task", "sib200", "--train-langs", "en", "--data", str(table / "data"),
        "--out", str(table / out), "--steps", "4", "--evaluate-every", "2", "--device", "cpu", "--precision", "fp32",
        *more,
    ]  # fmt: skip


def test_a_run(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = invoke(capsys, *arguments(table))
    assert done.code == 0, done.err
    assert "sib200: accuracy on the development examples of the source languages" in done.out.replace(
        "\n", " "
    )
    assert f"written to {table / 'run' / 'final'}" in done.out.replace("\n", "")
    assert (table / "run" / "final" / "config.json").is_file()
    assert refused(capsys, table, *arguments(table)).startswith(f"{table / 'run'}: already exists.")


def test_json_is_one_object(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = invoke(capsys, *arguments(table, "--json", "--seeds", "2", out="seeds"))
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["final"] == [str(table / "seeds" / f"seed-{seed}" / "final") for seed in (0, 1)]
    assert found["dev"]["seeds"] == 2
    assert json.loads((table / "seeds" / "summary.json").read_text())["dev"] == found["dev"]


def test_several_seeds_are_shown(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = invoke(capsys, *arguments(table, "--seeds", "2", "--seed", "3", out="shown"))
    assert done.code == 0, done.err
    assert "mean" in done.out
    assert "standard deviation" in done.out


def test_the_data_directory_from_the_environment(
    table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYCOMPRESS_DATA", str(table / "data"))
    given = arguments(table, out="environment")
    place = given.index("--data")
    assert invoke(capsys, *given[:place], *given[place + 2 :]).code == 0


def test_every_wrong_option_at_once(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(
        capsys, table,
        *arguments(table, "--precision", "fp8", "--learning-rate", "-1", "--freeze", "half", "--seeds", "0",
                   "--patience", "-2", out="wrong"),
    )  # fmt: skip
    for part in (
        "precision is 'fp8'",
        "learning_rate is -1.0",
        "freeze is 'half'",
        "seeds is 0",
        "patience is -2",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "xnlu"], "Did you mean xnli?"),
        (["--train-langs", "fr"], "no training examples in fra-Latn: it has some in deu-Latn, eng-Latn"),
        (["--task", "word-translation"], "is not trained for"),
        (["--data", "/nowhere"], "/nowhere"),
    ],
)
def test_wrong_requests(
    table: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert message in refused(capsys, table, *arguments(table, *options, out="wrong")).replace("\n", " ")


def test_without_torch_it_says_what_to_install(table: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    settings = environment()
    settings["PYTHONPATH"] = f"{blocked}{os.pathsep}{settings['PYTHONPATH']}"
    helped, refused_ = (
        subprocess.run([*PROGRAM, *each], capture_output=True, text=True, env=settings)
        for each in (["finetune", "--help"], arguments(table, out="without"))
    )
    assert helped.returncode == 0
    assert "--learning-rate" in helped.stdout
    assert refused_.returncode == 2
    assert "pip install 'polycompress[train]'" in refused_.stderr.replace("\n", "")


def test_a_record_with_a_score() -> None:
    record = {
        "step": 50, "steps": 200, "loss": 2.34567, "tokens_per_second": 12345.6, "seconds": 100.0, "memory_mib": 1000.0,
        "dev_score": 0.87654,
    }  # fmt: skip
    assert "loss 2.346, dev 0.877, 12,346" in describe(record)
