"""``polycompress tasks``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from polycompress.cli import console
from polycompress.cli.completing import complete_tasks
from polycompress.cli.options import Json

if TYPE_CHECKING:
    from polycompress.evaluation.suites import Suite
    from polycompress.evaluation.tasks import TaskSpec


LICENCE: Final = 22
"""Characters of a licence in the table."""


def tasks(
    task: Annotated[
        str,
        typer.Argument(
            metavar="[TASK]",
            autocompletion=complete_tasks,
            help="Its id: everything about it. Without, a table of all.",
        ),
    ] = "",
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            envvar="POLYCOMPRESS_DATA",
            help="Show what this data directory holds. [default: data sets of the Hugging Face hub]",
        ),
    ] = None,
    directory: Annotated[
        Path | None, typer.Option("--tasks", metavar="DIR", help="Also task files of your own.")
    ] = None,
    json: Json = False,
) -> None:
    """Show the tasks that models can be tuned for and judged on: languages, metric, licence, source.

    Each is a file of `eval/tasks/`; a directory with files of your own is named with `--tasks`.

    Examples:
        polycompress tasks

        polycompress tasks xnli

        polycompress tasks ner-wikiann --data DIR --json
    """
    from polycompress.evaluation.suites import all_suites
    from polycompress.evaluation.tasks import all_tasks, find_task

    chosen = (find_task(task, directory),) if task else all_tasks(directory)
    suites = () if task else all_suites()
    if json:
        listed = [_described(each, data) for each in chosen]
        console.print_json(
            {"tasks": listed, "suites": [{"id": each.id, "description": each.description} for each in suites]}
        )
    elif task:
        _show_one(_described(chosen[0], data))
    else:
        _show_table(chosen, suites, data)


def _described(task: TaskSpec, data: Path | None) -> dict[str, Any]:
    """Everything about a task, with its languages by split where they come from."""
    facts = task.as_dict()
    facts["protocol"], facts["train_from"] = task.protocol_at(data), task.train_from_at(data)
    facts["languages"] = {
        split: [str(part) for part in task.languages(split, data)] if task.has_door(data) else None
        for split in ("train", "dev", "test")
    }
    return facts


def _show_one(facts: dict[str, Any]) -> None:
    """A fact a line."""
    console.print_line(f"{facts['id']}  {facts['name']}")
    comparable = facts["comparable"]
    shown = {
        "kind": facts["kind"],
        "labels": ", ".join(facts["labels"]),
        "metric": facts["metric"] + (f" (chance {facts['chance']:.3f})" if facts["chance"] else ""),
        "compared with": facts["pivot"],
        "parallel": "yes" if facts["parallel"] else "no",
        "protocol": facts["protocol"],
        "training and dev": facts["train_from"],
        "beside published scores": "local files may stand" if comparable is True else f"no: {comparable}",
        "licence": facts["licence"],
        "citation": facts["citation"],
        "hub": _hub(facts),
        "data directory": ", ".join(_files(facts["local"])) if facts["local"] else "none",
    }
    for split, parts in facts["languages"].items():
        shown[split] = (
            "see --data" if parts is None else f"{len(parts)}: {', '.join(parts)}" if parts else "none"
        )
    width = max(map(len, shown)) + 2
    for name, value in shown.items():
        console.print_line(f"  {name:<{width}}{value or '-'}")


def _hub(facts: dict[str, Any]) -> str:
    hub = facts["hub"]
    if hub is None:
        return f"none: {facts['no_hub']}"
    return f"{hub['dataset']} at {hub['revision'] or 'no known revision'}"


def _files(local: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(name for names in local["files"].values() for name in names))


def _show_table(chosen: Sequence[TaskSpec], suites: Sequence[Suite], data: Path | None) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("id", no_wrap=True)
    table.add_column("kind")
    table.add_column("test sets", justify="right")
    table.add_column("metric", no_wrap=True)
    table.add_column("licence")
    for task in chosen:
        parts = str(len(task.languages("test", data))) if task.has_door(data) else "-"
        table.add_row(
            *map(
                Text,
                (task.id, task.kind, parts, task.metric, shorten(task.licence, LICENCE, placeholder="…")),
            )
        )
    console.print_table(table)
    where = "on the Hugging Face hub (- where --data is needed)" if data is None else f"in {data}"
    console.print_line(f"{len(chosen)} tasks; test sets are counted {where}")
    console.print_line("polycompress tasks ID shows everything about one")
    console.print_line(f"suites: {', '.join(suite.id for suite in suites)}")
