from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from polycompress.errors import InputError
from polycompress.ui import runs
from polycompress.ui.runs import Entry, find_entries, is_locked, kind_of
from tests.report.result_examples import make_result, write
from tests.ui.tiny import make_model, make_recipe_run, make_training, write_json


def only(root: Path) -> Entry:
    (entry,) = find_entries(root)
    return entry


def test_every_kind_is_found_with_what_is_known_of_it(tmp_path: Path) -> None:
    make_recipe_run(tmp_path / "recipe")
    german = {"code": "deu-Latn", "name": "German"}
    make_model(tmp_path / "recipe" / "stages" / "1-small", created="2025-05-05T00:00:00Z", languages=[german])
    make_training(tmp_path / "trained")
    write(tmp_path / "results" / "one.json", make_result("sib200", "judged", {"deu-Latn": 0.5}))
    write_json(tmp_path / "else" / "package.json", {"kind": "something else"})
    (tmp_path / ".hidden").mkdir()
    make_training(tmp_path / ".hidden" / "run")
    found = {each.name: each for each in find_entries(tmp_path)}
    assert {name: each.kind for name, each in found.items()} == {
        "recipe": "recipe",
        "recipe/stages/1-small": "model",
        "results": "results",
        "trained": "training",
    }
    assert {each.state for each in found.values()} == {"finished"}
    assert found["recipe"].models == ("demo",)
    assert found["recipe"].languages == ("deu-Latn", "swh-Latn")
    assert found["recipe"].date == "2026-01-02T03:04:05+00:00"
    small = found["recipe/stages/1-small"]
    assert (small.models, small.languages, small.date) == (
        ("owner/source",),
        ("deu-Latn",),
        "2025-05-05T00:00:00Z",
    )
    assert small.bytes == sum(file.stat().st_size for file in small.path.iterdir())
    assert found["trained"].models == ("tiny",)
    assert found["results"].models == ("judged",)
    assert found["results"].languages == ("deu-Latn",)


def test_a_run_is_found_in_itself(tmp_path: Path) -> None:
    assert only(make_training(tmp_path)).name == "."


def test_a_model_in_a_training_run_is_one_of_its_own(tmp_path: Path) -> None:
    make_training(tmp_path / "run", finished=False)
    make_model(tmp_path / "run" / "final")
    make_training(tmp_path / "run" / "snapshots" / "step-1")
    assert [(each.name, each.kind) for each in find_entries(tmp_path)] == [
        ("run", "training"),
        ("run/final", "model"),
    ]


def test_a_training_run_without_a_model_is_interrupted(tmp_path: Path) -> None:
    assert only(make_training(tmp_path, finished=False)).state == "interrupted"


def test_a_recipe_says_whether_it_is_at_work(tmp_path: Path) -> None:
    run = make_recipe_run(tmp_path / "run")
    (run / "work").mkdir()
    assert only(run).state == "interrupted"
    descriptor = os.open(run / "lock", os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert only(run).state == "running"
    finally:
        os.close(descriptor)
    (run / "work").rmdir()
    assert only(run).state == "finished"
    (run / "run.json").unlink()
    assert only(run).state == "interrupted"


def test_looking_at_the_lock_leaves_it_free(tmp_path: Path) -> None:
    run = make_recipe_run(tmp_path / "run")
    assert not is_locked(run)
    descriptor = os.open(run / "lock", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)
    (run / "lock").unlink()
    (run / "lock").symlink_to(run / "run.json")
    assert not is_locked(run)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("recipe.yaml", "a: [", "recipe.yaml"),
        ("recipe.yaml", "a: &a [1]\nb: *a\n", "recipe.yaml"),
        ("run.json", "{", "run.json"),
        ("run.json", "[]", "holds no JSON object"),
    ],
)
def test_what_is_damaged_is_in_the_table_and_says_why(
    tmp_path: Path, file: str, content: str, message: str
) -> None:
    run = make_recipe_run(tmp_path / "run")
    (run / file).write_text(content)
    entry = only(run)
    assert entry.state == "damaged"
    assert message in entry.note


def test_values_of_other_types_are_left_out(tmp_path: Path) -> None:
    run = make_recipe_run(tmp_path / "run", model=["a"], languages={"a": 1})
    write_json(run / "run.json", {"stages": {"one": 3, "two": {"began": None}}})
    entry = only(run)
    assert (entry.state, entry.models, entry.languages) == ("finished", (), ())
    model = make_model(tmp_path / "model", languages=[{"code": 3}, "de"], source={"name": 4}, created=5)
    assert (only(model).models, only(model).languages) == ((), ())
    make_model(tmp_path / "broken", languages="de")
    assert only(tmp_path / "broken").state == "damaged"


def test_links_lead_nowhere(tmp_path: Path) -> None:
    make_training(tmp_path / "elsewhere")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "elsewhere")
    assert find_entries(tmp_path / "runs") == []


def test_no_more_are_shown_than_a_table_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MAX_ENTRIES", 3)
    for number in range(5):
        make_training(tmp_path / str(number))
    assert len(find_entries(tmp_path)) == 3


def test_folders_in_folders_end_somewhere(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a"] * (runs.MAX_DEPTH + 2))
    deep.mkdir(parents=True)
    make_training(deep)
    assert find_entries(tmp_path) == []


def test_a_directory_that_holds_nothing_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert kind_of(tmp_path) is None


def test_a_directory_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"nothing: no such directory. Give a directory of runs.*--model MODEL"
    ):
        find_entries(tmp_path / "nothing")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file: is a file"):
        find_entries(tmp_path / "file")
