"""What a model is judged on: which parts of a task, and their examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast, get_args

from polycompress.errors import InputError
from polycompress.evaluation.loading import load_examples
from polycompress.evaluation.records import Example, Part, Split
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.pipelines.trimming.loading import asked_languages

ALL: Final = "all"
"""Every language that a door has."""
_SHOWN: Final = 40


class NothingToJudgeError(InputError):
    """Of a task there is nothing in any of the languages asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What was asked for: what there is of it, and what there is not."""

    found: tuple[Part, ...]
    missing: tuple[Part, ...]


def choose_split(split: str) -> Split:
    """Check the name of a split.

    Raises:
        InputError: It is none.
    """
    if split not in get_args(Split):
        raise InputError(f"--split {split!r}: give one of {', '.join(get_args(Split))}.")
    return cast("Split", split)


def choose_parts(task: TaskSpec, langs: str | Sequence[str], split: Split, data: Path | None) -> Parts:
    """The parts of a task in some languages.

    Args:
        task: The task.
        langs: Languages, or ``all``.
        split: Of the task.
        data: A data directory; None: the hub.

    Raises:
        InputError: A language is not known.
        NothingToJudgeError: There is nothing in any of them; the languages that there are, are listed.
    """
    there = task.languages(split, data)
    if langs == ALL or list(langs) == [ALL]:
        chosen, missing = there, []
    else:
        codes = [language.code for language in asked_languages(langs)]
        chosen = [part for part in there if part.language in codes]
        found = {part.language for part in chosen}
        missing = [Part(code) for code in codes if code not in found]
    if not chosen:
        shown = ", ".join(map(str, there[:_SHOWN])) + (", ..." if len(there) > _SHOWN else "")
        wanted = ", ".join(map(str, missing)) or "any language"
        raise NothingToJudgeError(
            f"{data or 'the hub'}: task {task.id} has no {split} examples in {wanted}. It has them in: "
            f"{shown or 'none'}."
        )
    return Parts(found=tuple(sorted(chosen)), missing=tuple(missing))


def read_parts(
    task: TaskSpec,
    parts: Sequence[Part],
    split: Split,
    *,
    data: Path | None,
    limit: int | None,
    progress: Progress | None = None,
) -> Mapping[Part, tuple[Example, ...]]:
    """The examples of some parts.

    Raises:
        InputError: One cannot be read.
    """
    examples = {}
    for part in parts:
        examples[part] = load_examples(task, part, split, data=data, limit=limit)
        if progress is not None:
            progress(f"reading {task.id}", 1, len(parts))
    return examples
