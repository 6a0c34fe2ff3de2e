"""The examples of a task, through either door."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from polycompress.errors import InputError
from polycompress.evaluation.records import Example, Part, Split
from polycompress.evaluation.sources import examples
from polycompress.evaluation.sources.doors import Row
from polycompress.evaluation.sources.hub import hub_parts, hub_rows
from polycompress.evaluation.sources.local import local_rows
from polycompress.evaluation.task_spec import TaskSpec, advice, hub_door, local_door


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
    check_limit(limit)
    if task.kind == "retrieval" and part.language == task.pivot:
        raise InputError(
            f"{part} is the language that task {task.id} compares the others with. Choose another."
        )
    rows = _rows(task, part, split, data)
    found = tuple(itertools.islice(_examples(task, part, split, data, rows), limit))
    if not found:
        source = data if data is not None else hub_door(task).dataset
        raise InputError(f"{source}: task {task.id} has no {split} examples in {part}: all files are empty.")
    return found


def check_limit(limit: int | None) -> None:
    """Refuse a number of examples that is none.

    Raises:
        InputError: It is less than 1, or more than can be counted.
    """
    if limit is not None and not 1 <= limit <= sys.maxsize:
        raise InputError(f"limit is {limit}; it must be at least 1, and at most {sys.maxsize}.")


def _rows(task: TaskSpec, part: Part, split: Split, data: Path | None) -> Iterator[Row]:
    """Rows of either door, with classes and tags spelt as the task spells them."""
    if data is None:
        door = hub_door(task)
        if part not in (parts := hub_parts(door, split)):
            shown = ", ".join(map(str, parts)) or "none"
            raise InputError(f"{door.dataset}: no {split} examples in {part} (languages: {shown}).")
        rows = hub_rows(door, task.kind, part, split, advice=advice(task))
        return _renamed(rows, door.rename)
    local = local_door(task)
    return _renamed(local_rows(local, part, split, data), local.rename)


def _renamed(rows: Iterable[Row], names: Mapping[str, str]) -> Iterator[Row]:
    if not names:
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
    columns = hub_door(task).columns if data is None else local_door(task).columns
    if "pivot" in columns or task.pivot is None:
        return None
    return examples.keyed_texts(_rows(task, Part(task.pivot, part.subset), split, data))
