"""Tasks: what is asked of a model, in which languages, how it is scored, and where the examples come from."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import itertools
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from polycompress.errors import InputError
from polycompress.evaluation.records import Example, Kind, Part, Split
from polycompress.evaluation.sources import examples
from polycompress.evaluation.sources.doors import HubDoor, LocalDoor, Row
from polycompress.evaluation.sources.hub import hub_parts, hub_rows
from polycompress.evaluation.sources.local import layout, local_parts, local_rows
from polycompress.resources import data_path

logger = logging.getLogger(__name__)

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSpec:
    """One file of ``eval/tasks/``."""

    id: str
    name: str
    kind: Kind
    labels: tuple[str, ...]
    """Classes, or IOB2 tags; empty where the kind has none."""
    metric: str
    """One of ``METRICS``."""
    chance: float | None
    """The score of guessing, from 0 to 1, where that says anything."""
    pivot: str | None
    """Code of the language that every other is compared with."""
    parallel: bool
    """Whether examples with one key say the same in every language."""
    split_by: str | None
    """``paragraph``: one file holds all splits, and the paragraph's key decides."""
    protocol: str
    """In one sentence, what is trained on and what is tested; published scores are shown where theirs is equal."""
    train_from: str
    """What ``train`` and ``dev`` are here."""
    comparable: bool | str
    """Whether scores on local files can stand beside published ones; if not, why."""
    licence: str
    citation: str
    local: LocalDoor | None
    hub: HubDoor | None
    no_hub: str | None
    """Why there is no hub door."""
    path: Path
    """The file."""

    def languages(self, split: Split, data: Path | None) -> list[Part]:
        """The parts that a door has of a split, sorted.

        Args:
            split: Which.
            data: A data directory, in which files are looked for; None: the hub, as the task's file has it.

        Raises:
            InputError: The directory is not there, or the task has no such door.
        """
        if data is None:
            parts = hub_parts(_hub(self), split)
        else:
            parts = local_parts(_local(self), split, data)
        return [part for part in parts if self.kind != "retrieval" or part.language != self.pivot]

    def protocol_at(self, data: Path | None) -> str:
        """What is trained on and tested through a door: ``data`` as in ``languages``."""
        return (self.hub.protocol if data is None and self.hub else None) or self.protocol

    def train_from_at(self, data: Path | None) -> str:
        """What ``train`` and ``dev`` are through a door: ``data`` as in ``languages``."""
        return (self.hub.train_from if data is None and self.hub else None) or self.train_from


def load_examples(
    task: TaskSpec, part: Part, split: Split, *, data: Path | None, limit: int | None = None
) -> tuple[Example, ...]:
    """The examples of one part, all of the class that belongs to the task's kind, in the order of the source.

    Args:
        task: The task.
        part: Language and subset.
        split: Which.
        data: A data directory; None: the hub, at the task's pinned revision.
        limit: Only the first so many; of word translation, so many words.

    Raises:
        InputError: The part is missing (those found are named), an example is broken (file and line), or the hub
            cannot be reached.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}; it must be at least 1.")
    rows = _rows(task, part, split, data)
    found = tuple(itertools.islice(_examples(task, part, split, data, rows), limit))
    if not found:
        raise InputError(
            f"{_source(task, data)}: task {task.id} has no {split} examples in {part}: all files are empty."
        )
    return found


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
        near = difflib.get_close_matches(name[:100], tasks, n=1)
        guess = f" Did you mean {near[0]}?" if near else ""
        raise InputError(f"There is no task {name[:100]!r}.{guess} Tasks: {', '.join(tasks)}.")
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


def pinned(task: TaskSpec, revision: str) -> TaskSpec:
    """The task with another revision of its data set.

    Args:
        task: The task.
        revision: A commit, 40 hexadecimal digits.

    Raises:
        InputError: It is no commit, or the task has no hub door.
    """
    if not _COMMIT.fullmatch(revision):
        raise InputError(f"revision {revision!r} is no commit: write 40 hexadecimal digits.")
    return dataclasses.replace(task, hub=dataclasses.replace(_hub(task), revision=revision))


@functools.cache
def _built_in() -> tuple[TaskSpec, ...]:
    return _read_all(data_path("eval") / "tasks")


def _read_all(directory: Path) -> tuple[TaskSpec, ...]:
    from polycompress.evaluation.task_files import read_task

    if not directory.is_dir():
        raise InputError(f"{directory}: there is no such directory of task files. Check the name.")
    return tuple(read_task(path) for path in sorted(directory.glob("*.toml")))


def _rows(task: TaskSpec, part: Part, split: Split, data: Path | None) -> Iterator[Row]:
    """Rows of either door, with classes and tags spelt as the task spells them."""
    if data is None:
        door = _hub(task)
        if part not in (parts := hub_parts(door, split)):
            shown = ", ".join(map(str, parts)) or "none"
            raise InputError(f"{door.dataset}: no {split} examples in {part} (languages: {shown}).")
        rows = hub_rows(door, task.kind, part, split, advice=_advice(task))
        return _renamed(rows, door.rename)
    local = _local(task)
    return _renamed(local_rows(local, part, split, data), local.rename)


def _renamed(rows: Iterable[Row], names: dict[str, str] | object) -> Iterator[Row]:
    if not isinstance(names, dict) or not names:
        yield from rows
        return
    for row in rows:
        values = dict(row.values)
        if "label" in values:
            values["label"] = names.get(values["label"], values["label"])
        if "tags" in values:
            values["tags"] = [names.get(tag, tag) for tag in values["tags"]]
        yield Row(row.place, values)


def _examples(
    task: TaskSpec, part: Part, split: Split, data: Path | None, rows: Iterable[Row]
) -> Iterator[Example]:
    match task.kind:
        case "pair-classification" | "text-classification":
            return examples.text_examples(rows, task.labels, pairs=task.kind == "pair-classification")
        case "token-classification":
            return examples.word_examples(rows, task.labels)
        case "question-answering":
            return examples.question_examples(rows, split if task.split_by == "paragraph" else None)
        case "retrieval":
            return examples.sentence_pairs(rows, _pivots(task, part, split, data))
        case "word-translation":
            return examples.word_pairs(rows)


def _pivots(task: TaskSpec, part: Part, split: Split, data: Path | None) -> dict[str, str] | None:
    """The pivot's sentences by key, where they do not stand beside the others."""
    columns = _hub(task).columns if data is None else _local(task).columns
    if "pivot" in columns or task.pivot is None:
        return None
    return examples.keyed_texts(_rows(task, Part(task.pivot, part.subset), split, data))


def _hub(task: TaskSpec) -> HubDoor:
    if task.hub is None:
        reason = f" ({task.no_hub})" if task.no_hub else ""
        raise InputError(f"Task {task.id} is not read from the hub{reason}. {_advice(task)}")
    return task.hub


def _local(task: TaskSpec) -> LocalDoor:
    if task.local is None:
        raise InputError(
            f"Task {task.id} has no layout of a data directory; leave --data out to read the hub."
        )
    return task.local


def _advice(task: TaskSpec) -> str:
    if task.local is None:
        return f"Name a commit under revision in {task.path.name}, in a directory of your own task files."
    return f"Give a data directory that holds {layout(task.local)}: --data DIR or POLYCOMPRESS_DATA."


def _source(task: TaskSpec, data: Path | None) -> str:
    return str(data) if data is not None else _hub(task).dataset


def part_names(parts: Sequence[Part]) -> str:
    """Parts for a message."""
    return ", ".join(map(str, parts)) or "none"
