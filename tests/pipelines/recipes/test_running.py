from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from polycompress.errors import InputError
from polycompress.pipelines.recipes import running
from polycompress.pipelines.recipes.running import StageError
from tests.command_line import tree
from tests.pipelines.tiny_recipes import SMALL, contents, make_kitchen, recipe_of, run, states, write_recipe
from tests.pipelines.tiny_runs import Killed

FACTORS = {"name": "factors", "do": "factorise", "options": {"rank": 4}}
CHECK = {"name": "check", "do": "verify", "models": ["model", "small"]}


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_kitchen(tmp_path_factory.mktemp("kitchen"))


@pytest.fixture(scope="module")
def recipe(kitchen: Path) -> Path:
    return write_recipe(kitchen, recipe_of(SMALL, CHECK, FACTORS))


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unbroken run."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert set(states(run(recipe, out)).values()) == {"done"}
    return out


def test_a_run_is_laid_out_as_it_says(whole: Path) -> None:
    assert sorted(path.name for path in whole.iterdir()) == ["lock", "recipe.yaml", "run.json", "stages"]
    assert sorted(path.name for path in (whole / "stages").iterdir()) == [
        "1-small", "1-small.json", "2-check.json", "3-factors", "3-factors.json",
    ]  # fmt: skip
    record = json.loads((whole / "stages" / "3-factors.json").read_text())
    assert record["typed"] == [
        "polycompress", "factorise", "stages/1-small", "--rank", "4", "--out", "stages/3-factors",
    ]  # fmt: skip
    assert record["result"]["out"] == "stages/3-factors"
    manifest = json.loads((whole / "stages" / "3-factors" / "polycompress.json").read_text())
    assert manifest["command"] == record["typed"]
    assert "created" not in manifest
    times = json.loads((whole / "run.json").read_text())
    assert times["stages"]["factors"]["files"]["polycompress.json"]["created"]
    work = f"{whole.name}/work/"
    assert all(work not in each.decode("utf-8", "replace") for each in contents(whole).values())


def test_what_is_finished_is_not_repeated(recipe: Path, whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (whole / "stages").rglob("*")}
    assert set(states(run(recipe, whole)).values()) == {"finished before"}
    assert {path: path.stat().st_mtime_ns for path in (whole / "stages").rglob("*")} == before
    assert set(states(run(whole / "recipe.yaml", whole)).values()) == {"finished before"}


def test_a_plan_writes_nothing(recipe: Path, whole: Path, tmp_path: Path) -> None:
    planned = run(recipe, tmp_path / "run", dry_run=True)
    assert states(planned) == dict.fromkeys(("small", "check", "factors"), "to do")
    assert planned.plan.stages[0].at_most
    assert tree(tmp_path) == []
    before = contents(whole)
    planned = run(recipe, whole, "stages.factors.options.rank=3", dry_run=True)
    assert states(planned) == {"small": "finished", "check": "finished", "factors": "to do"}
    assert planned.plan.stages[2].why == "another rank"
    assert contents(whole) == before


def test_a_change_runs_again_with_all_that_use_it(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(recipe, out)
    done = run(recipe, out, "stages.factors.options.rank=3")
    assert states(done) == {"small": "finished before", "check": "finished before", "factors": "done"}
    planned = run(recipe, out, "stages.small.options.min-count=2", dry_run=True).plan
    assert [each.why for each in planned.stages] == [
        "another min-count", "small changes", "another rank, small changes",
    ]  # fmt: skip
    assert set(states(run(recipe, out, "stages.small.options.min-count=2")).values()) == {"done"}


def test_other_text_is_another_key_and_another_name_of_it_is_not(tmp_path: Path) -> None:
    root = make_kitchen(tmp_path)
    path = write_recipe(root, recipe_of(SMALL))
    run(path, tmp_path / "run")
    with (root / "de.txt").open("a", encoding="utf-8") as file:
        file.write("\nneu")
    planned = run(path, tmp_path / "run", dry_run=True).plan
    assert planned.stages[0].why == "another corpus"
    (root / "model" / "config.json").write_text((root / "model" / "config.json").read_text() + "\n")
    planned = run(path, tmp_path / "run", dry_run=True).plan
    assert planned.stages[0].why == "another corpus, another model"


def test_stages_may_change_their_places(kitchen: Path, tmp_path: Path) -> None:
    run(write_recipe(kitchen, recipe_of(SMALL, FACTORS), "one.yaml"), tmp_path / "run")
    moved = write_recipe(kitchen, recipe_of(SMALL, CHECK, FACTORS), "two.yaml")
    before = tree(tmp_path / "run")
    planned = run(moved, tmp_path / "run", dry_run=True)
    assert states(planned) == {"small": "finished", "check": "to do", "factors": "finished"}
    assert planned.plan.stages[2].bytes
    assert tree(tmp_path / "run") == before
    done = run(moved, tmp_path / "run")
    assert states(done) == {"small": "finished before", "check": "done", "factors": "finished before"}
    assert (tmp_path / "run" / "stages" / "3-factors" / "config.json").exists()


def test_an_output_that_is_gone_is_made_again(recipe: Path, whole: Path, tmp_path: Path) -> None:
    run(recipe, tmp_path / "run")
    (tmp_path / "run" / "stages" / "3-factors").rename(tmp_path / "elsewhere")
    planned = run(recipe, tmp_path / "run", dry_run=True).plan
    assert planned.stages[2].why == "its output is gone"
    run(recipe, tmp_path / "run")
    assert contents(tmp_path / "run") == contents(whole)


def test_a_stage_that_fails_is_named_and_the_run_goes_on(recipe: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(StageError, match=r"^stage factors: .*rank.*5000") as caught:
        run(recipe, out, "stages.factors.options.rank=5000")
    assert caught.value.exit_code == 2
    done = run(recipe, out)
    assert states(done) == {"small": "finished before", "check": "finished before", "factors": "done"}
    assert contents(out) == contents(whole)


def test_the_old_output_stays_until_the_new_is_whole(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(recipe, out)
    before = contents(out)
    with pytest.raises(StageError):
        run(recipe, out, "stages.factors.options.rank=5000")
    after = contents(out)
    assert all(after[name] == value for name, value in before.items() if name.startswith("stages/"))
    assert set(states(run(recipe, out)).values()) == {"finished before"}


def test_another_process_is_kept_out(recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    with (out / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"run: another process is at work in it\. Wait for it"):
            run(recipe, out)
    assert set(states(run(recipe, out)).values()) == {"done"}


def test_a_directory_that_is_not_for_it_is_refused(recipe: Path, kitchen: Path, whole: Path) -> None:
    with pytest.raises(InputError, match=r"has no recipe\.yaml, so it is no run"):
        run(recipe, kitchen / "data")
    with pytest.raises(InputError, match="is a file"):
        run(recipe, kitchen / "de.txt")
    other = write_recipe(kitchen, recipe_of(SMALL, name="other"), "other.yaml")
    with pytest.raises(InputError, match="is the run of the recipe 'tiny', not of 'other'"):
        run(other, whole)


def test_what_is_missing_is_found_before_anything_runs(kitchen: Path, tmp_path: Path) -> None:
    stages = [
        SMALL,
        {"name": "ner", "do": "finetune", "options": {"task": "no-such", "steps": 1}},
        {"name": "again", "do": "mlm", "options": {"corpus": "en=none.txt", "steps": 1}},
    ]
    path = write_recipe(kitchen, recipe_of(*stages), "missing.yaml")
    with pytest.raises(InputError) as caught:
        run(path, tmp_path / "run")
    text = str(caught.value)
    assert "stages[2].do: There is no task 'no-such'" in text
    assert "stages[3].do: --corpus" in text
    assert "no file matches it" in text
    assert tree(tmp_path) == []


class Breaker:
    """Kills at the n-th step between the work and its place."""

    def __init__(self, at: int) -> None:
        self.left = at

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                raise Killed
            found = function(*arguments, **named)
            self.left -= 1
            if self.left == 0:
                raise Killed
            return found

        return wrapped


@pytest.fixture
def breaking(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Breaker]]:
    def arm(at: int) -> Breaker:
        monkeypatch.undo()
        breaker = Breaker(at)
        for name in ("write_note", "take_times", "sync_tree", "remove", "_clear"):
            monkeypatch.setattr(running, name, breaker.wrap(getattr(running, name)))
        for name in ("rename", "unlink"):
            monkeypatch.setattr(Path, name, breaker.wrap(getattr(Path, name)))
        return breaker

    yield arm
    monkeypatch.undo()


@pytest.mark.parametrize("is_taken_back", [False, True])
def test_killed_at_any_step_it_ends_as_if_it_was_not(
    is_taken_back: bool,
    kitchen: Path,
    tmp_path: Path,
    breaking: Callable[[int], Breaker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A change of a finished run, so that there are old outputs too; then the same again, or without the change."""
    path = write_recipe(kitchen, recipe_of(SMALL), "short.yaml")
    again = "stages.small.options.min-count=2"
    then = () if is_taken_back else (again,)
    run(path, tmp_path / "whole")
    run(path, tmp_path / "whole", *then)
    wanted = contents(tmp_path / "whole")
    for at in range(1, 200):
        out = tmp_path / f"run-{at}"
        monkeypatch.undo()
        run(path, out)
        breaker = breaking(at)
        try:
            run(path, out, again)
        except Killed:
            monkeypatch.undo()
            run(path, out, *then)
        monkeypatch.undo()
        if breaker.left > 0:
            break
        assert contents(out) == wanted, at
    assert at > 15


def test_killed_right_after_training_ended(
    kitchen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command is asked to go on with a run that is finished, and says the same as it would have."""
    stage = {"name": "more", "do": "mlm", "options": {"steps": 4, "max-length": 48, "device": "cpu"}}
    tuned = {"name": "topics", "do": "finetune", "options": {"task": "sib200", "steps": 2, "max-length": 48}}
    path = write_recipe(kitchen, recipe_of(stage, tuned), "trained.yaml")
    run(path, tmp_path / "whole")
    carry_out = running._carry_out
    for name in ("more", "topics"):

        def killed(planned: Any, *rest: Any, stage: str = name) -> Any:
            found = carry_out(planned, *rest)
            if planned.stage.name == stage:
                raise Killed
            return found

        monkeypatch.setattr(running, "_carry_out", killed)
        with pytest.raises(Killed):
            run(path, tmp_path / "broken")
        monkeypatch.undo()
    assert states(run(path, tmp_path / "broken", dry_run=True)) == {"more": "finished", "topics": "goes on"}
    run(path, tmp_path / "broken")
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")
    assert not list((tmp_path / "whole").rglob("snapshots"))


def test_a_stage_that_draws_leaves_its_pictures(kitchen: Path, tmp_path: Path) -> None:
    options = {"corpus": ["en=en.txt", "de=de.txt"], "plot-overlap": "shared.svg", "no-frequencies": True}
    path = write_recipe(
        kitchen, recipe_of({"name": "look", "do": "inspect", "options": options}), "look.yaml"
    )
    assert states(run(path, tmp_path / "run")) == {"look": "done"}
    picture = tmp_path / "run" / "stages" / "1-look" / "shared.svg"
    assert picture.read_text(encoding="utf-8").startswith("<?xml")
    typed = json.loads((tmp_path / "run" / "stages" / "1-look.json").read_text())["typed"]
    assert typed[typed.index("--plot-overlap") + 1] == "stages/1-look/shared.svg"
    assert states(run(path, tmp_path / "run")) == {"look": "finished before"}
    without = {name: value for name, value in options.items() if name != "plot-overlap"}
    blind = write_recipe(
        kitchen, recipe_of({"name": "look", "do": "inspect", "options": without}), "blind.yaml"
    )
    assert states(run(blind, tmp_path / "run")) == {"look": "done"}
    assert not picture.parent.exists(), "an old picture is not that of the new record"
    run(path, tmp_path / "run")
    picture.parent.rename(tmp_path / "elsewhere")
    assert states(run(path, tmp_path / "run", dry_run=True)) == {"look": "to do"}
