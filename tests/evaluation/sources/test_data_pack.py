"""Every file of the data pack that belongs to a task is read whole, and gives as many examples as its manifest says."""

from __future__ import annotations

from pathlib import Path

import pytest

from polycompress.evaluation.records import Split, WordPair
from polycompress.evaluation.sources.templates import find_named
from polycompress.evaluation.tasks import TaskSpec, all_tasks, find_task, load_examples

SPLITS: tuple[Split, ...] = ("train", "dev", "test")
WHOLE = [task for task in all_tasks() if task.split_by is None and task.local and not task.local.where]


def rows_by_file(data: Path) -> dict[str, int]:
    lines = (data / "manifest.tsv").read_text(encoding="utf-8").splitlines()[1:]
    return {name: int(rows) for name, rows, *_ in (line.split("\t") for line in lines) if rows.isdigit()}


@pytest.mark.slow
@pytest.mark.parametrize("task", WHOLE, ids=lambda task: task.id)
def test_every_row_is_an_example(task: TaskSpec, data_dir: Path) -> None:
    assert task.local is not None
    wanted = rows_by_file(data_dir)
    for split in SPLITS:
        for part in task.languages(split, data_dir):
            files = [
                path.relative_to(data_dir).as_posix()
                for template in task.local.files[split]
                for path, _ in find_named(template, data_dir, task.local.codes)[part]
            ]
            examples = load_examples(task, part, split, data=data_dir)
            words = [each for each in examples if isinstance(each, WordPair)]
            found = sum(len(each.translations) for each in words) if words else len(examples)
            assert found == sum(wanted[name] for name in files), files


@pytest.mark.parametrize("task", all_tasks(), ids=lambda task: task.id)
def test_every_test_set_begins_well(task: TaskSpec, data_dir: Path) -> None:
    parts = task.languages("test", data_dir)
    assert parts == sorted(set(parts))
    for part in parts[:3]:
        assert len(load_examples(task, part, "test", data=data_dir, limit=20)) == 20


def test_what_the_pack_has(data_dir: Path) -> None:
    counts = {task.id: [len(task.languages(split, data_dir)) for split in SPLITS] for task in all_tasks()}
    assert counts["xnli"][:2] == [1, 1]  # trained and stopped in English only
    assert counts["nli-americas"][0] == 0
    assert find_task("xnli").languages("train", data_dir)[0].language == "eng-Latn"


def test_sizes_of_the_splits_made_here(data_dir: Path) -> None:
    xnli, xquad = find_task("xnli"), find_task("xquad")
    (english,) = xnli.languages("train", data_dir)
    assert len(load_examples(xnli, english, "train", data=data_dir)) == 14742 + 2490
    assert len(load_examples(xnli, english, "dev", data=data_dir)) == 685
    sizes = [len(load_examples(xquad, english, split, data=data_dir)) for split in SPLITS]
    assert sizes == [835, 104, 251]
