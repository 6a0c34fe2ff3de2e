"""The page of a run as a stage of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from polycompress.cli.recipe_commands import recipe_command
from polycompress.pipelines.recipes.planning import Planned
from polycompress.pipelines.run import run_recipe
from tests.pipelines.tiny_recipes import (
    SMALL,
    contents,
    make_kitchen,
    read,
    recipe_of,
    run,
    states,
    write_recipe,
)
from tests.pipelines.tiny_runs import Killed

CHECK = {"name": "check", "do": "verify"}
PAGE = {"name": "page", "do": "report"}


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_kitchen(tmp_path_factory.mktemp("kitchen"))


def test_a_page_is_the_same_however_often_the_run_was_killed(kitchen: Path, tmp_path: Path) -> None:
    path = write_recipe(kitchen, recipe_of(SMALL, CHECK, PAGE))

    def kill(planned: Planned, what: str) -> None:
        if what == "ended" and planned.stage.name != "page":
            raise Killed

    for _ in range(2):
        with pytest.raises(Killed):
            run_recipe(path, recipe_command, out=tmp_path / "pieces", tell=kill)
    run(path, tmp_path / "pieces")
    run(path, tmp_path / "whole")
    whole = contents(tmp_path / "whole")
    assert contents(tmp_path / "pieces") == whole
    text = whole["stages/3-page/report.html"].decode()
    assert [name for name in whole if name.startswith("stages/3-page/")] == ["stages/3-page/report.html"]
    assert "2 of 2 finished" in text and "polycompress trim" in text
    assert not re.search(r"<th scope=\"col\"[^>]*>time</th>", text)


def test_it_is_made_again_when_what_it_shows_has_changed(kitchen: Path, tmp_path: Path) -> None:
    path = write_recipe(kitchen, recipe_of(SMALL, CHECK, PAGE))
    run(path, tmp_path / "run")
    assert set(states(run(path, tmp_path / "run", dry_run=True)).values()) == {"finished"}
    write_recipe(kitchen, recipe_of(SMALL, {**CHECK, "name": "proof"}, PAGE))
    assert states(run(path, tmp_path / "run")) == {
        "small": "finished before",
        "proof": "done",
        "page": "done",
    }
    text = (tmp_path / "run" / "stages" / "3-page" / "report.html").read_text(encoding="utf-8")
    assert "proof" in text and ">check<" not in text


def test_what_a_page_cannot_be_told(kitchen: Path) -> None:
    faults = read(kitchen, PAGE).faults
    assert any("there is nothing to report: let other stages come before" in fault for fault in faults)
    (fault,) = read(kitchen, SMALL, {**PAGE, "options": {"open": True}}).faults
    assert "options.open is given, but a stage cannot take it" in fault
