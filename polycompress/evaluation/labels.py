"""The labels that a model's head knows against those of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polycompress.errors import InputError


def label_columns(
    id2label: Mapping[Any, Any] | None, labels: Sequence[str], where: str, hint: str
) -> tuple[int, ...] | None:
    """Which column of the logits belongs to each label of the task.

    Names are compared without regard to case.

    Args:
        id2label: Of ``config.json``: name by column.
        labels: Of the task, in its order.
        where: The model, for messages.
        hint: What to do where they differ, for messages.

    Returns:
        For each label its column; None where the columns are in the task's order already.

    Raises:
        InputError: The names are not the same ones; both lists are named.
    """
    columns = {int(number): str(name) for number, name in (id2label or {}).items()}
    names = [columns[number] for number in sorted(columns)]
    places = {name.casefold(): column for column, name in enumerate(names)}
    wanted = [label.casefold() for label in labels]
    if len(places) != len(names) or sorted(places) != sorted(wanted):
        raise InputError(
            f"{where}/config.json: the head's labels (id2label) are {_listed(names)}, but the task's are "
            f"{_listed(labels)}. {hint}"
        )
    found = tuple(places[label] for label in wanted)
    return None if found == tuple(range(len(found))) else found


def _listed(names: Sequence[str], shown: int = 30) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return (", ".join(names[:shown]) or "none") + more
