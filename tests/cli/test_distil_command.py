"""``polycompress distil``: what it prints, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command_line import invoke, refused
from tests.pipelines.tiny_pack import make_pack
from tests.tiny_models import TEXTS, make_tiny

STAGES = """
stages:
  - {name: general, losses: [{name: hidden-mse, weight: 0.5}], steps: 2, max_length: 48, batch_tokens: 300}
  - {name: topics, task: sib200, teacher: none, steps: 2}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("recipe")
    make_tiny("xlm-roberta", "base", root / "teacher", vocab_size=350, num_hidden_layers=4)
    make_pack(root / "data")
    (root / "en.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    path = root / "own.yaml"
    path.write_text(
        f"teacher: {root}/teacher\nstudent: {{layers: 2}}\nlanguages: {{source: en}}\ncorpora: {root}/en.txt\n"
        f"data: {root}/data\ntraining: {{device: cpu, precision: fp32}}\n{STAGES}",
        encoding="utf-8",
    )
    return path


@pytest.fixture(autouse=True)
def quiet_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLYCOMPRESS_DATA", raising=False)
    monkeypatch.setenv("COLUMNS", "160")


def test_a_plan_and_then_a_run(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planned = invoke(capsys, "distil", "--config", recipe, "--dry-run")
    assert planned.code == 0, planned.err
    assert (
        "own: teacher teacher (4 layers), student its layers 1, 3, vocabulary cut to eng-Latn" in planned.out
    )
    assert "hidden-mse x 0.5" in planned.out
    assert "nothing was written (--dry-run)" in planned.out
    done = invoke(
        capsys, "distil", "--config", recipe, "--set", "stages.general.steps=1", "--out", tmp_path / "run"
    )
    assert done.code == 0, done.err
    assert "score 0." in done.out
    assert f"written to {tmp_path / 'run' / 'final'}" in done.out
    again = invoke(
        capsys, "distil", "--config", recipe, "--set", "stages.general.steps=1", "--out", tmp_path / "run",
        "--resume", "--json",
    )  # fmt: skip
    found = json.loads(again.out)
    assert [stage["steps"] for stage in found["stages"]] == [1, 2]
    assert "the run is finished" in again.err


def test_json_of_a_plan(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(invoke(capsys, "distil", "--config", recipe, "--dry-run", "--json").out)
    assert found["final"] is None
    assert found["stages"][1]["teacher"] is None
    assert found["layers"] == [1, 3]


def test_what_is_wrong_is_said_all_at_once(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(
        capsys, tmp_path, "distil", "--config", recipe, "--set", "stages.general.stps=1", "--set", "student.layers=3",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert f"The recipe {recipe} is wrong in 2 places:" in message
    assert "--set stages.general.stps: stages[1].stps is no field. Did you mean steps?" in message
    assert "--set student.layers: student.layers: 3 layers do not divide the teacher's 4" in message
    assert "name one with --out" in refused(capsys, tmp_path, "distil", "--config", recipe)
    message = refused(capsys, tmp_path, "distil", "--config", "ernie-tny", "--dry-run")
    assert "ernie-tny: cannot be read" in message
    assert "ernie-tiny, new-subwords, parallel-sentences, well-read-students" in message


def test_arguments_go_before_the_file_and_settings_before_arguments(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_tiny("xlm-roberta", "base", tmp_path / "other", vocab_size=350, num_hidden_layers=6)
    (tmp_path / "de.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    words = (
        "distil", other, "--config", recipe, "--source", "de", "--target", "sw,yo", "--corpus",
        f"de={tmp_path}/de.txt", "--corpus", f"sw={tmp_path}/de.txt", "--corpus", f"yo={tmp_path}/de.txt", "--dry-run",
        "--json",
    )  # fmt: skip
    found = json.loads(invoke(capsys, *words).out)
    assert (found["teacher"], found["teacher_layers"]) == ("other", 6)
    assert found["languages"] == ["deu-Latn", "swh-Latn", "yor-Latn"]
    settings = ("--set", "languages.target=null", "--set", f"corpora=[de={tmp_path}/de.txt]")
    again = invoke(capsys, *words, *settings)
    assert again.code == 0, again.err
    assert json.loads(again.out)["languages"] == ["deu-Latn"]
    given = invoke(capsys, "distil", other, "--config", recipe, "--student", other, "--dry-run", "--json")
    assert given.code == 0, given.err
    student = json.loads(given.out)
    assert (student["teacher"], student["student"], student["trim"]) == ("other", "other", False)


def test_a_fault_of_an_argument_names_it(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(
        capsys, tmp_path, "distil", "--config", recipe, "--source", "xxzz", "--held-out", "en=nowhere.txt", "--dry-run"
    )  # fmt: skip
    assert "--source: languages.source" in message
    message = refused(
        capsys, tmp_path, "distil", "--config", recipe, "--held-out", "en=nowhere.txt", "--dry-run"
    )
    assert "--held-out: held_out" in message
    assert "nowhere.txt" in message
