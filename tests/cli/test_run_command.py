"""``polycompress run``: what it prints, and how it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.command_line import invoke, refused
from tests.pipelines.tiny_recipes import SMALL, make_kitchen, recipe_of, write_recipe

FINE = {"task": "sib200", "max-length": 48, "device": "cpu"}
STAGES = (
    SMALL,
    {"name": "check", "do": "verify"},
    {"name": "look", "do": "inspect", "options": {"no-frequencies": True}},
    {"name": "more", "do": "mlm", "options": {"steps": 2, "max-length": 48, "device": "cpu"}},
    {"name": "topics", "do": "finetune", "options": {**FINE, "steps": 2, "seeds": 2}},
    {"name": "scores", "do": "eval", "options": FINE},
    {"name": "page", "do": "report"},
    {"name": "curve", "do": "report", "model": "more"},
)


@pytest.fixture(autouse=True)
def quiet_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYCOMPRESS_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "180")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_kitchen(tmp_path_factory.mktemp("kitchen"))
    return write_recipe(root, recipe_of(*STAGES))


def test_a_plan_a_run_and_a_second_one(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    planned = invoke(capsys, "run", recipe, "--dry-run")
    assert planned.code == 0, planned.err
    assert "to do (not run yet)" in planned.out
    assert re.search(r"5 topics .* at most \d\.\d MB +unknown", planned.out)
    assert re.search(r"7 page +report +all before", planned.out)
    assert "runs/tiny: 0.0 MB there," in planned.out
    assert not (tmp_path / "runs").exists()
    done = invoke(capsys, "run", recipe)
    assert done.code == 0, done.err
    assert "stage 4, more: mlm (not run yet)" in done.out
    assert "deu-Latn 0." in done.out
    assert "written to runs/tiny" in done.out
    stages = tmp_path / "runs" / "tiny" / "stages"
    assert "sib200" in (stages / "7-page" / "report.html").read_text(encoding="utf-8")
    assert "<svg" in (stages / "8-curve" / "report.html").read_text(encoding="utf-8")
    scores = json.loads((stages / "6-scores.json").read_text())["result"]["scores"]
    assert {row["language"] for row in scores} == {"eng-Latn", "deu-Latn"}
    again = json.loads(invoke(capsys, "run", recipe, "--json").out)
    assert {stage["state"] for stage in again["stages"]} == {"finished before"}
    setting = ("--set", "stages.more.options.steps=4", "--dry-run")
    planned = invoke(capsys, "run", recipe, *setting)
    assert "to do (another steps)" in planned.out
    assert "to do (more changes)" in planned.out
    found = json.loads(invoke(capsys, "run", recipe, *setting, "--json").out)
    by_name = {stage["name"]: stage for stage in found["stages"]}
    assert by_name["more"]["expected_seconds"] > 0
    assert by_name["look"]["state"] == "finished"
    assert by_name["small"]["bytes"] > 1000


def test_faults_name_their_lines(recipe: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    message = refused(
        capsys, tmp_path, "run", recipe, "--out", tmp_path / "run", "--set", "stages.more.options.stepss=3",
        "--set", "languages=[en, klingon]",
    )  # fmt: skip
    assert "is wrong in " in message
    assert "--set stages.more.options.stepss: stages[4].options.stepss is no option of mlm." in message
    assert "Did you mean steps?" in message
    assert "klingon" in message


def test_a_stage_that_fails_gives_its_exit_code(
    recipe: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    outcome = invoke(
        capsys, "run", recipe, "--out", tmp_path / "run", "--set", "stages.small.options.min-count=0"
    )
    assert outcome.code == 2
    assert "error: stage small: " in outcome.err
    assert "Traceback" not in outcome.err


def test_a_recipe_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    message = refused(capsys, tmp_path, "run", "swahili")
    assert "swahili: cannot be read: there is no such file" in message
    assert "swahili-ner" in message
    assert "ernie-tiny" not in message


def test_recipes_of_distillation_are_listed_apart(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    message = refused(capsys, tmp_path, "distil", "--config", "no-such", "--dry-run")
    assert "ernie-tiny" in message
    assert "swahili-ner" not in message
