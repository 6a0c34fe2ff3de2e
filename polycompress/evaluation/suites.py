"""Suites: several tasks to be judged on together, and what is to be trained for each. See ``eval/suites/``."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.evaluation.tasks import all_tasks
from polycompress.evaluation.toml_tables import Table, near, read_table, report
from polycompress.languages.finding import lookup_language
from polycompress.resources import data_path

ALL: Final = "all"
"""Instead of languages: every one that is there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteEntry:
    """One task of a suite."""

    task: str
    """Its id."""
    train_task: str | None
    """Id of the task whose training examples the model is tuned on first; None: nothing is trained. Entries with equal
    ``train_...`` and ``epochs`` share one tuned model."""
    train_languages: tuple[str, ...]
    """Codes, or only ``all``: tuned on these together. Empty where nothing is trained."""
    train_limit: int | None
    """Only the first so many training examples of each language."""
    epochs: int | None
    """How often tuning goes over them; None: as ``finetune`` does by default."""
    test_languages: tuple[str, ...]
    """Codes, or only ``all``."""
    limit: int | None
    """Only the first so many test examples of each part."""

    @property
    def tuned(self) -> tuple[Any, ...]:
        """What the tuned model depends on; equal for entries that share one."""
        return (self.train_task, self.train_languages, self.train_limit, self.epochs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """One file of ``eval/suites/``."""

    id: str
    name: str
    description: str
    entries: tuple[SuiteEntry, ...]


def find_suite(name: str) -> Suite:
    """The suite with an id.

    Raises:
        InputError: There is none; the nearest match is named.
    """
    suites = {suite.id: suite for suite in all_suites()}
    if name not in suites:
        raise InputError(
            f"There is no suite {name[:100]!r}.{near(name, suites)} Suites: {', '.join(suites)}."
        )
    return suites[name]


@functools.cache
def all_suites() -> tuple[Suite, ...]:
    """Every suite, by id."""
    return tuple(read_suite(path) for path in sorted((data_path("eval") / "suites").glob("*.toml")))


def read_suite(path: Path) -> Suite:
    """The suite that a file describes.

    Raises:
        InputError: With every fault of the file.
    """
    table = read_table(path)
    suite = Suite(
        id=table.text("id"),
        name=table.text("name"),
        description=table.text("description"),
        entries=tuple(_entry(entry) for entry in table.tables("entry")),
    )
    if suite.id and suite.id != path.stem:
        table.fault(f"id is {suite.id!r}: give the file's name without .toml.")
    table.finish()
    report(path, table.faults)
    return suite


def _entry(table: Table) -> SuiteEntry:
    task = _task(table, "task")
    trained = table.has("train_languages")
    entry = SuiteEntry(
        task=task,
        train_languages=_languages(table, "train_languages") if trained else (),
        train_task=(_task(table, "train_task") if table.has("train_task") else task) if trained else None,
        train_limit=table.count("train_limit"),
        epochs=table.count("epochs"),
        test_languages=_languages(table, "test_languages") if table.has("test_languages") else (ALL,),
        limit=table.count("limit"),
    )
    table.allow("train_languages", "train_task", "test_languages")
    untrained = [name for name in ("train_task", "train_limit", "epochs") if table.has(name) and not trained]
    if untrained:
        table.fault(f"{', '.join(untrained)} without train_languages: name the languages to train in.")
    table.finish()
    return entry


def _task(table: Table, name: str) -> str:
    value = table.text(name)
    tasks = [task.id for task in all_tasks()]
    if value and value not in tasks:
        table.fault(f"{name} is {value!r}: no task has that id.{near(value, tasks)}")
    return value


def _languages(table: Table, name: str) -> tuple[str, ...]:
    values = table.texts(name)
    if values == (ALL,):
        return values
    found = []
    for value in values:
        language = lookup_language(value)
        if language is None or value == ALL:
            table.fault(f"{name}: {value!r} is no language of the registry; give codes, or only all.")
        else:
            found.append(language.code)
    return tuple(found)
