"""Tasks: what is asked of a model, in which languages, how it is scored, and where the examples come from."""

from __future__ import annotations

import functools
from pathlib import Path

from polycompress.errors import InputError
from polycompress.evaluation.loading import load_examples
from polycompress.evaluation.task_files import METRICS, read_task
from polycompress.evaluation.task_spec import TaskSpec, pinned
from polycompress.evaluation.toml_tables import near
from polycompress.resources import data_path

__all__ = [
    "METRICS",
    "TaskSpec",
    "all_tasks",
    "find_task",
    "load_examples",
    "pinned",
    "read_task",
]


def find_task(name: str, directory: Path | None = None) -> TaskSpec:
    """The task with an id.

    Args:
        name: Such as ``ner-wikiann``.
        directory: Task files of your own, looked at first.

    Raises:
        InputError: There is none; the nearest match is named. Or its file is wrong.
    """
    tasks = {task.id: task for task in all_tasks(directory)}
    if name not in tasks:
        raise InputError(f"There is no task {name[:100]!r}.{near(name, tasks)} Tasks: {', '.join(tasks)}.")
    return tasks[name]


def all_tasks(directory: Path | None = None) -> tuple[TaskSpec, ...]:
    """Every task, by id; those of ``directory`` come before ours and replace those of the same id.

    Raises:
        InputError: A file is wrong, or the directory is not there.
    """
    tasks = {task.id: task for task in _built_in()}
    if directory is not None:
        tasks |= {task.id: task for task in _read_all(directory)}
    return tuple(tasks[name] for name in sorted(tasks))


@functools.cache
def _built_in() -> tuple[TaskSpec, ...]:
    return _read_all(data_path("eval") / "tasks")


def _read_all(directory: Path) -> tuple[TaskSpec, ...]:
    if not directory.is_dir():
        raise InputError(f"{directory}: there is no such directory of task files. Check the name.")
    return tuple(read_task(path) for path in sorted(directory.glob("*.toml")))
