"""``polycompress plan``: what it prints, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polycompress.pipelines.trimming import gathering
from tests.command_line import invoke, refused
from tests.tiny_models import make_tiny


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny("gpt2", "clm", tmp_path_factory.mktemp("models") / "tiny", vocab_size=500)


@pytest.fixture(autouse=True)
def short_word_lists(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setattr(gathering, "FORMS", 5_000)
    monkeypatch.setattr(gathering, "BACKGROUND_FORMS", 1_000)
    monkeypatch.setenv("POLYCOMPRESS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("COLUMNS", "120")


def test_the_size_the_losses_and_the_command_are_printed(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = invoke(capsys, "plan", source, "--langs", "de,tr", "--budget", "56KB")
    assert outcome.code == 0, outcome.err
    assert "within 56KB" in outcome.out
    assert "without its vocabulary" in outcome.out
    assert "loses most: " in outcome.out
    assert "does not fit the budget" in outcome.out
    command = outcome.out.strip().splitlines()[-1]
    assert command.startswith(f"polycompress trim {source} --langs deu-Latn,tur-Latn --size ")
    size = int(command.split("--size ")[1].split()[0])
    found = json.loads(invoke(capsys, "plan", source, "--langs", "de,tr", "--budget", "56KB", "--json").out)
    assert found["size"] == size
    assert found["planned"]["bytes"] <= 56_000
    assert found["command"] == command


def test_room_to_spare_is_said(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = invoke(
        capsys, "plan", source, "--langs", "de", "--budget", "1G", "--no-frequencies", "--corpus", __file__
    )
    assert outcome.code == 0, outcome.err
    assert "are all that these languages need" in outcome.out
    assert "fits the budget too" in outcome.out


def test_the_command_that_is_printed_can_be_run(
    source: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ("--langs", "de", "--budget", "13.5K", "--pad-to-multiple-of", "8", "--json")
    found = json.loads(invoke(capsys, "plan", source, *arguments).out)
    assert invoke(capsys, *found["command"].split()[1:]).code == 0
    manifest = json.loads((tmp_path / "trimmed" / "polycompress.json").read_text(encoding="utf-8"))
    assert manifest["sizes"]["after"]["parameters"] == found["planned"]["parameters"] <= 13_500
    assert manifest["sizes"]["after"]["rows"] == found["planned"]["rows"]


def test_too_small_a_budget_is_refused_with_the_least(
    source: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    message = refused(capsys, tmp_path, "plan", source, "--langs", "de", "--budget", "1KB")
    assert message.startswith("--budget 1KB: too small for tiny: the part that is no vocabulary alone takes ")
    assert "The least budget is " in message
    message = refused(capsys, tmp_path, "plan", source, "--langs", "de", "--budget", "sixty")
    assert message.startswith("--budget 'sixty' is no size. Write bytes as 60MB")
