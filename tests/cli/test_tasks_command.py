from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from polycompress.cli.tasks import tasks
from polycompress.errors import InputError
from polycompress.evaluation.tasks import all_tasks
from tests.evaluation.task_data import data_directory

app = typer.Typer(add_completion=False)
app.command("tasks")(tasks)


@pytest.fixture(autouse=True)
def no_data_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYCOMPRESS_DATA", raising=False)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    app(args=list(arguments), prog_name="tasks", standalone_mode=False)
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def record(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    parsed = json.loads(run(capsys, *arguments, "--json"))
    assert set(parsed) == {"tasks", "suites"}
    (found,) = parsed["tasks"]
    return found  # type: ignore[no-any-return]


def test_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = run(capsys)
    for task in all_tasks():
        assert task.id in text
    assert "\n17 tasks; test sets are counted on the Hugging Face hub (- where --data is needed)\n" in text
    assert text.endswith("suites: cross-lingual, quick, translate-train\n")


def test_all_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    parsed = json.loads(run(capsys, "--json"))
    assert len(parsed["tasks"]) == 17
    assert [suite["id"] for suite in parsed["suites"]] == ["cross-lingual", "quick", "translate-train"]


def test_one_on_the_hub_and_in_a_directory(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    hub = record(capsys, "xnli")
    assert hub["hub"]["dataset"] == "facebook/xnli"
    assert len(hub["languages"]["test"]) == 15
    assert hub["protocol"] == "trained on English MNLI, tested on XNLI test"
    local = record(capsys, "xnli", "--data", str(data_directory(tmp_path)))
    assert local["languages"] == {
        "train": ["eng-Latn"],
        "dev": ["eng-Latn"],
        "test": ["deu-Latn", "eng-Latn"],
    }
    assert "WikiNLI" in local["protocol"]
    assert record(capsys, "ner-uner")["languages"] == {"train": None, "dev": None, "test": None}


def test_one_in_words(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data = data_directory(tmp_path)
    text = run(capsys, "xquad", "--data", str(data))
    assert text.startswith("xquad  XQuAD\n")
    assert "google/xquad at 51adfef1c1287aab1d2d91b5bead9bcfb9c68583" in text
    assert "2: deu-Latn, eng-Latn" in text
    assert "no: published models are trained on SQuAD" in text
    text = run(capsys, "sib200", "--data", str(data))
    assert "accuracy (chance 0.143)" in text
    assert "local files may stand" in text
    text = run(capsys, "ner-uner")
    assert "none: universalner/universal_ner is a program" in text
    assert "see --data" in text


def test_files_of_your_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such directory of task files"):
        run(capsys, "--tasks", str(tmp_path / "nowhere"))
    (tmp_path / "mine.toml").write_text("id = 1\n")
    with pytest.raises(InputError, match=r"mine.toml: [0-9]+ faults:\n  kind is missing"):
        run(capsys, "--tasks", str(tmp_path))


def test_no_such_task(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"There is no task 'sib20'. Did you mean sib200?"):
        run(capsys, "sib20")
