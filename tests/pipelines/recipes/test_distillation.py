"""A stage that distils: its own recipe is read with the run's, and what that reads decides whether it is repeated."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from polycompress.cli.recipe_commands import recipe_command
from polycompress.errors import InputError
from polycompress.pipelines.recipes.distillation import read_inner
from polycompress.pipelines.recipes.fingerprints import Fingerprints, changes, key_of
from polycompress.pipelines.recipes.reading import Findings
from tests.pipelines.tiny_recipes import SMALL, make_kitchen, read, recipe_of, run, write_recipe

STAGES = """
stages:
  - {name: general, losses: [hidden-mse], steps: 1}
  - {name: words, task: sib200, teacher: none, steps: 2}
"""


@pytest.fixture
def kitchen(tmp_path: Path) -> Path:
    root = make_kitchen(tmp_path)
    (root / "inner.yaml").write_text(STAGES, encoding="utf-8")
    return root


def stage(**options: Any) -> dict[str, Any]:
    return {"name": "taught", "do": "distil", "options": {"config": "inner.yaml", **options}}


def identity(root: Path, **options: Any) -> Mapping[str, Any]:
    findings: Findings = read(root, stage(**options))
    findings.report()
    return Fingerprints(findings.recipe).identity(findings.recipe.stages[-1], {})


def faults(root: Path, **options: Any) -> str:
    path = write_recipe(root, recipe_of(SMALL, stage(**options)))
    with pytest.raises(InputError) as caught:
        run(path, root / "run", dry_run=True)
    return str(caught.value)


def test_it_takes_teacher_languages_text_and_data_from_the_run(kitchen: Path) -> None:
    findings = read(kitchen, SMALL, stage())
    (_, taught) = findings.recipe.stages
    assert [source.name for source in taught.sources] == ["small"]
    assert taught.options["source"] == "eng-Latn"
    assert taught.options["target"] == "deu-Latn"
    inner = read_inner(taught)
    assert inner.texts == (("eng-Latn", (kitchen / "en.txt",)), ("deu-Latn", (kitchen / "de.txt",)))
    assert inner.data == kitchen / "data"
    assert [task.id for task in inner.tasks] == ["sib200"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("inner.yaml", "other file of the distillation"),
        ("held.txt", "other texts of the distillation"),
        ("other/config.json", "other models of the distillation"),
    ],
)
def test_what_its_recipe_reads_decides(kitchen: Path, change: str, why: str) -> None:
    (kitchen / "held.txt").write_text("Ein Satz.\n", encoding="utf-8")
    (kitchen / "other").mkdir()
    for file in (kitchen / "model").iterdir():
        (kitchen / "other" / file.name).write_bytes(file.read_bytes())
    options = {
        "held-out": f"de={kitchen}/held.txt",
        "set": [f"student.directory={kitchen}/other"],
    }
    before = identity(kitchen, **options)
    assert key_of(identity(kitchen, **options)) == key_of(before)
    with (kitchen / change).open("a", encoding="utf-8") as file:
        file.write("\n")
    now = identity(kitchen, **options)
    assert key_of(now) != key_of(before)
    assert why in changes(before, now)


def test_examples_of_its_tasks_decide(kitchen: Path) -> None:
    before = identity(kitchen)
    ((name, _), *_) = before["recipe"]["examples"][0]
    with (kitchen / "data" / name).open("ab") as file:
        file.write(b"\n")
    now = identity(kitchen)
    assert key_of(now) != key_of(before)
    assert changes(before, now) == "other examples of the distillation"


def test_its_faults_are_told_with_the_runs(kitchen: Path) -> None:
    (kitchen / "inner.yaml").write_text(STAGES.replace("steps: 1", "stps: 1"), encoding="utf-8")
    message = faults(kitchen, langs="de", set=["student.layer=3"])
    assert "options.langs is no option of distil" in message
    message = faults(kitchen, set=["student.layer=3"])
    assert f"do: The recipe {kitchen}/inner.yaml: line 3: stages[1].stps is no field" in message
    assert "--set student.layer: student.layer is no field. Did you mean layers?" in message
    assert not (kitchen / "run").exists()


def test_paths_from_the_working_directory_are_refused(kitchen: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (kitchen / "inner.yaml").write_text(
        STAGES + "held_out: [de=de.txt]\nstudent: {directory: ./model}\n", encoding="utf-8"
    )
    monkeypatch.chdir(kitchen)
    message = faults(kitchen)
    assert "held_out is 'de.txt', which would begin at the run's directory: write the whole path" in message
    assert "student.directory is './model', which would begin at the run's directory" in message


def test_a_recipe_that_is_not_there(kitchen: Path) -> None:
    assert "nowhere.yaml: cannot be read: there is no such file" in faults(kitchen, config="nowhere.yaml")
    assert recipe_command("distil").options["config"].is_required


def test_without_the_extra_the_plan_says_what_to_install(
    kitchen: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "polycompress.pipelines.distilling.recipe", None)
    assert "pip install 'polycompress[train]'" in faults(kitchen)
