from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from polycompress.cli.mlm import parse_shares
from polycompress.cli.training_view import describe, duration, training_progress
from polycompress.errors import InputError
from tests.command_line import environment, invoke, refused
from tests.tiny_models import TEXTS, make_tiny


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("table")
    make_tiny("xlm-roberta", "base", root / "model", vocab_size=350)
    (root / "de.txt").write_text(
        "\n".join(f"{text} {n}" for n in range(4) for text in TEXTS), encoding="utf-8"
    )
    return root


def arguments(table: Path, *more: str, out: str = "run") -> list[str]:
    return [
        "mlm", str(table / "model"), "--langs", "de", "--corpus", str(table / "de.txt"), "--steps", "6", "--out",
        str(table / out), "--batch-tokens", "200", "--max-length", "48", "--device", "cpu", *more,
    ]  # fmt: skip


def test_a_run_and_its_report(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = invoke(capsys, *arguments(table))
    assert done.code == 0, done.err
    assert "masked language modelling, full softmax" in done.out
    assert f"written to {table / 'run' / 'final'}" in done.out.replace("\n", "")
    shown = invoke(capsys, "report", str(table / "run"))
    assert shown.code == 0, shown.err
    assert (table / "run" / "report.html").read_text().startswith("<!doctype html>")
    assert refused(capsys, table, *arguments(table)).startswith(f"{table / 'run'}: already exists.")


def test_json_is_one_object(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = invoke(capsys, *arguments(table, "--json", out="as-json"))
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["final"] == str(table / "as-json" / "final")
    assert found["training"]["steps"] == 6
    given = arguments(table, "--json", out="named")
    named = [
        f"de={each}" if each.endswith("de.txt") else each for each in given if each not in ("--langs", "de")
    ]
    assert json.loads(invoke(capsys, *named).out)["training"]["language_tokens"].keys() == {"deu-Latn"}
    nameless = [each.removeprefix("de=").replace("/named", "/nameless") for each in named]
    assert "does not say its language" in refused(capsys, table, *nameless)
    report = invoke(capsys, "report", str(table / "as-json"), "--json", "--out", str(table / "page.html"))
    assert json.loads(report.out)["page"] == str(table / "page.html")
    assert json.loads(report.out)["finished"] is True


def test_the_same_seed_gives_the_same_weights(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert invoke(capsys, *arguments(table, "--seed", seed, out=name)).code == 0
        weights.append((table / name / "final" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_every_wrong_option_at_once(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(
        capsys, table,
        *arguments(table, "--schedule", "cosin", "--precision", "fp8", "--mask-rate", "3", "--batch-tokens", "0",
                   "--learning-rate", "-1", out="wrong"),
    )  # fmt: skip
    for part in ("training.schedule.kind is 'cosin'", "training.precision is 'fp8'", "rate is 3.0",
                 "token_budget is 0", "training.optimiser.learning_rate is -1.0"):  # fmt: skip
        assert part in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--langs", "Klingonish"], "Klingonish"),
        (["--corpus", "sw=x.txt"], "not asked for"),
        (["--corpus", "/nowhere/*.txt"], "no file matches it"),
        (["--shares", "de"], "--shares 'de': write CODE=SHARE"),
        (
            ["--shares", "de=1"],
            "mixing.shares is {'deu-Latn': 1.0}: only fixed mixing has them, not proportional",
        ),
        (
            ["--mixing", "unimx"],
            "mixing.strategy is 'unimx': give proportional, temperature, unimax or fixed.",
        ),
        (["--batch-tokens", "20"], "token_budget is 20, less than one row of 48 tokens"),
    ],
)
def test_wrong_requests(
    table: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert message in refused(capsys, table, *arguments(table, *options, out="wrong"))


def test_no_run_to_report(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such directory" in refused(capsys, table, "report", str(table / "nothing"))
    assert "is not that of a training run" in refused(capsys, table, "report", str(table / "model"))


def test_without_torch_it_says_what_to_install(table: Path, tmp_path: Path) -> None:
    """Of the command's help and of others nothing needs torch."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    settings = environment()
    settings["PYTHONPATH"] = f"{blocked}{os.pathsep}{settings['PYTHONPATH']}"
    helped, refused_ = (
        subprocess.run(
            [sys.executable, "-m", "polycompress", *each], capture_output=True, text=True, env=settings
        )
        for each in (["mlm", "--help"], arguments(table, out="without"))
    )
    assert helped.returncode == 0
    assert "--learning-rate" in helped.stdout
    assert refused_.returncode == 2
    assert "pip install 'polycompress[train]'" in refused_.stderr.replace("\n", "")


def test_shares() -> None:
    assert parse_shares("sw=0.9, de=0.1") == {"swh-Latn": 0.9, "deu-Latn": 0.1}
    assert parse_shares("") is None
    with pytest.raises(InputError, match="--shares 'de=much': write CODE=SHARE"):
        parse_shares("de=much")


RECORD = {
    "step": 50, "steps": 200, "loss": 2.34567, "tokens_per_second": 12345.6, "seconds": 100.0, "memory_mib": 1000.0,
}  # fmt: skip


def test_a_record_in_one_line() -> None:
    assert describe(RECORD) == "step 50 of 200, loss 2.346, 12,346 tokens/s, 5 min left, 1.05 GB"
    assert "loss 2.346, held out 3.000, 12,346" in describe({**RECORD, "held_out_loss": 3.0})


@pytest.mark.parametrize(("seconds", "text"), [(3.2, "3 s"), (89, "89 s"), (600, "10 min"), (7200, "2.0 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_no_bar_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with training_progress() as show:
        show.prepare("reading", 5, None)
        show.record(RECORD)
    assert capsys.readouterr() == ("", "")
