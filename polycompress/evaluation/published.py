"""Published scores, to stand beside ours where the protocol is the same. See ``eval/published.toml``."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from polycompress.evaluation.records import Part
from polycompress.evaluation.toml_tables import Table, read_table, report
from polycompress.languages.finding import lookup_language
from polycompress.resources import data_path


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """What somebody reports of one model on one task."""

    task: str
    model: str
    protocol: str
    """Shown only beside scores whose task says the same (``TaskSpec.protocol_at``)."""
    source: str
    """Where it stands, as an address."""
    scores: Mapping[Part, float]
    """From 0 to 1; empty where only the average is known."""
    average: float | None
    """As reported, from 0 to 1."""
    average_over: int | None
    """Languages that the average is over."""


def published_scores(task: str) -> tuple[Published, ...]:
    """What is known of one task, in the order of the file; perhaps nothing.

    Args:
        task: Its id.
    """
    return tuple(entry for entry in _all() if entry.task == task)


def read_published(path: Path) -> tuple[Published, ...]:
    """All entries of a file.

    Raises:
        InputError: With every fault of the file.
    """
    table = read_table(path)
    entries = tuple(_entry(entry) for entry in table.tables("published"))
    table.finish()
    report(path, table.faults)
    return entries


@functools.cache
def _all() -> tuple[Published, ...]:
    return read_published(data_path("eval") / "published.toml")


def _entry(table: Table) -> Published:
    scores: dict[Part, float] = {}
    below = table.table("scores")
    if below is not None:
        for name in below.names():
            language = lookup_language(name)
            if language is None:
                below.fault(f"{name} is no language of the registry.")
            elif (score := _share(below, name)) is not None:
                scores[Part(language.code)] = score
        below.finish()
    entry = Published(
        task=table.text("task"),
        model=table.text("model"),
        protocol=table.text("protocol"),
        source=table.text("source"),
        scores=scores,
        average=_share(table, "average"),
        average_over=table.count("average_over"),
    )
    if not scores and entry.average is None:
        table.fault("neither scores nor average: give at least one.")
    if entry.source and not entry.source.startswith("https://"):
        table.fault(f"source is {entry.source!r}: give an address that begins with https://.")
    table.finish()
    return entry


def _share(table: Table, name: str) -> float | None:
    value = table.number(name)
    if value is not None and not 0 <= value <= 1:
        table.fault(f"{name} is {value}: give a share from 0 to 1.")
    return value
