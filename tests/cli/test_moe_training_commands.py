"""``polycompress moe train`` and ``routes``: what they print, and how they refuse."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from polycompress.cli import main
from tests.command_line import invoke, refused
from tests.pipelines.tiny_experts import ExpertsKitchen


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> ExpertsKitchen:
    return ExpertsKitchen(tmp_path_factory.mktemp("kitchen"))


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def corpora(kitchen: ExpertsKitchen) -> list[str]:
    return [part for each in kitchen.corpus for part in ("--corpus", each)]


def train(kitchen: ExpertsKitchen, out: Path, *more: str) -> list[str]:
    return [
        "moe", "train", str(kitchen.moe), "--teacher", str(kitchen.teacher), *corpora(kitchen), "--steps", "3",
        "--max-length", "24", "--batch-tokens", "160", "--device", "cpu", "--out", str(out), *more,
    ]  # fmt: skip


def test_a_model_is_trained_and_looked_at(
    kitchen: ExpertsKitchen, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    held_out = [part for each in kitchen.corpus for part in ("--held-out", each)]
    done = invoke(capsys, *train(kitchen, run, *held_out, "--reweight-every", "2", "--supervision", "0.05"))
    assert done.code == 0, done.err
    assert re.search(r"layers of the teacher +0, 3\s", done.out)
    assert re.search(r"tokens of swh-Latn +\d+, last share \d+\.\d %", done.out)
    for fact in ("that one token meets", "experts that no token reaches", "loss on held-out text"):
        assert fact in done.out
    assert f"written to {run / 'final'}" in done.out
    again = invoke(
        capsys,
        *train(
            kitchen, run, *held_out, "--reweight-every", "2", "--supervision", "0.05", "--resume", "--json"
        ),
    )
    found = json.loads(again.out)
    assert found["experts"]["moe"]["experts"] == 3
    assert found["distillation"]["language_shares"].keys() == {"deu-Latn", "nld-Latn", "fra-Latn", "swh-Latn"}

    seen = invoke(
        capsys,
        "moe",
        "routes",
        str(run),
        *corpora(kitchen),
        "--texts",
        "5",
        "--against",
        str(kitchen.moe),
    )
    assert seen.code == 0, seen.err
    assert re.search(r"language +tokens +own +entropy +router +0 +1 +2 +moved", seen.out)
    assert re.search(r"swh-Latn +\d+ +\d+%", seen.out) and "Narrow Bantu" in seen.out
    assert "moved" in seen.out and "overlap of two languages" in seen.out
    assert "of which a token meets" in seen.out
    older = tmp_path / "older.json"
    older.write_text(
        invoke(capsys, "moe", "routes", str(kitchen.moe), *corpora(kitchen), "--texts", "5", "--json").out,
        encoding="utf-8",
    )
    told = invoke(
        capsys,
        "moe",
        "routes",
        str(run / "final"),
        *corpora(kitchen),
        "--texts",
        "5",
        "--against",
        str(older),
        "--json",
    )
    assert json.loads(told.out)["drift"]["1"].keys() == found["distillation"]["language_shares"].keys()


def test_what_cannot_be_trained_is_refused(
    kitchen: ExpertsKitchen, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(
        capsys,
        tmp_path,
        *train(
            kitchen, tmp_path / "run", "--routing", "supervized", "--forcing", "2", "--alpha", "1", "--layer-map", "0",
            "--families-temperature", "0",
        ),
    )  # fmt: skip
    for part in (
        "routing.routing is 'supervized': give forced, supervised or none. Did you mean supervised?",
        "routing.forcing is 2.0: give a probability, 0 to 1",
        "reweigh.alpha is 1.0: give 0 or more and less than 1",
        "families_temperature is 0.0: give a number above 0",
    ):
        assert part in message
    plain = refused(capsys, tmp_path, "moe", "routes", str(kitchen.teacher), *corpora(kitchen))
    assert "has no experts" in plain and "polycompress moe upcycle" in plain


@pytest.mark.parametrize("command", ["train", "routes"])
def test_help_shows_runnable_examples(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    text = invoke(capsys, "moe", command, "--help").out
    examples = [
        line.strip() for line in text.splitlines() if line.strip().startswith(f"polycompress moe {command} ")
    ]
    assert len(examples) == 2
    parser = get_command(main.app).commands["moe"].commands[command]  # type: ignore[attr-defined]
    for example in examples:
        parser.make_context(command, shlex.split(example)[3:])  # raises where an option is not known
