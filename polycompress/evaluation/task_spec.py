"""What a task is: one file of ``eval/tasks/``, read."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycompress.errors import InputError
from polycompress.evaluation.records import Kind, Part, Split
from polycompress.evaluation.sources.doors import COMMIT, HubDoor, LocalDoor
from polycompress.evaluation.sources.hub import hub_parts
from polycompress.evaluation.sources.local import layout, local_parts


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskSpec:
    """One file of ``eval/tasks/``."""

    id: str
    name: str
    kind: Kind
    labels: tuple[str, ...]
    """Classes, or IOB2 tags; empty where the kind has none."""
    metric: str
    """That of its kind: ``accuracy``, ``entity-f1``, ``squad-f1``, ``retrieval-accuracy`` or ``precision-at-1``."""
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
            parts = hub_parts(hub_door(self), split)
        else:
            parts = local_parts(local_door(self), split, data)
        return [part for part in parts if self.kind != "retrieval" or part.language != self.pivot]

    def has_door(self, data: Path | None) -> bool:
        """Whether examples can come from there: ``data`` as in ``languages``."""
        return (self.hub if data is None else self.local) is not None

    def protocol_at(self, data: Path | None) -> str:
        """What is trained on and tested through a door: ``data`` as in ``languages``."""
        return (self.hub.protocol if data is None and self.hub else None) or self.protocol

    def train_from_at(self, data: Path | None) -> str:
        """What ``train`` and ``dev`` are through a door: ``data`` as in ``languages``."""
        return (self.hub.train_from if data is None and self.hub else None) or self.train_from

    def as_dict(self) -> dict[str, Any]:
        """What its file says, for JSON."""
        facts = dataclasses.asdict(self)
        facts["path"] = self.path.name
        return facts


def pinned(task: TaskSpec, revision: str) -> TaskSpec:
    """The task with another revision of its data set.

    Args:
        task: The task.
        revision: A commit, 40 hexadecimal digits.

    Raises:
        InputError: It is no commit, or the task has no hub door.
    """
    if not COMMIT.fullmatch(revision):
        raise InputError(f"revision {revision!r} is no commit: write 40 hexadecimal digits.")
    return dataclasses.replace(task, hub=dataclasses.replace(hub_door(task), revision=revision))


def hub_door(task: TaskSpec) -> HubDoor:
    """The hub door.

    Raises:
        InputError: There is none.
    """
    if task.hub is None:
        reason = f" ({task.no_hub})" if task.no_hub else ""
        raise InputError(f"Task {task.id} is not read from the hub{reason}. {advice(task)}")
    return task.hub


def local_door(task: TaskSpec) -> LocalDoor:
    """The local door.

    Raises:
        InputError: There is none.
    """
    if task.local is None:
        raise InputError(
            f"Task {task.id} has no layout of a data directory; leave --data out to read the hub."
        )
    return task.local


def advice(task: TaskSpec) -> str:
    """What to do where the hub does not help, for messages."""
    if task.local is None:
        return f"Name a commit under revision in {task.path.name}, in a directory of your own task files."
    return f"Give a data directory that holds {layout(task.local)}: --data DIR or POLYCOMPRESS_DATA."
