"""Results of evaluations on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from polycompress.cli import console
from polycompress.cli.training_view import duration
from polycompress.evaluation.result_table import (
    Grid,
    average_grid,
    part_name,
    score_grid,
    suite_grid,
    summary,
    title,
)

_BETWEEN: Final = 3
"""Characters between two columns."""


def show_result(result: Mapping[str, Any]) -> None:
    """One task: its languages, then its averages."""
    console.print_line(f"{title(result)}: {summary(result)}")
    _show(score_grid(result, details=False))
    _show(average_grid(result))
    missing = result["averages"].get("missing") or ()
    if missing:
        console.print_line(f"not measured, and in no average: {', '.join(missing)}")
    for note in result.get("notes") or ():
        console.print_line(note)
    if isinstance(result.get("seconds"), int | float):
        console.print_line(f"in {duration(result['seconds'])}")


def show_suite(results: Sequence[Mapping[str, Any]], skipped: Sequence[str]) -> None:
    """All tasks in one table, and what was left out."""
    _show(suite_grid(results))
    for each in skipped:
        console.print_line(f"left out: {each}")


def show_comparison(found: Mapping[str, Any]) -> None:
    """Two results of one task, language by language."""
    console.print_line(
        f"{found['task']}, {found['metric']}: {found['first']} against {found['second']}; the interval of "
        "the difference is that of a paired bootstrap"
    )
    rows: list[tuple[str, ...]] = [
        (
            part_name(row["language"], row["subset"]),
            f"{row['first']:.3f}",
            f"{row['second']:.3f}",
            f"{row['difference']:+.3f}",
            f"{row['low']:+.3f} to {row['high']:+.3f}",
            f"{row['p']:.3f}",
        )
        for row in found["scores"]
    ]
    rows.append(
        (
            "mean",
            *(f"{found['mean'][name]:.3f}" for name in ("first", "second")),
            f"{found['mean']['difference']:+.3f}",
            "",
            "",
        )
    )
    _show(Grid(("Language", "first", "second", "difference", "95 % interval", "p"), tuple(rows)))
    for note in found["notes"]:
        console.print_line(note)


def _show(grid: Grid) -> None:
    for part in fitting(grid, console.out().width) if grid.rows else ():
        console.print_facts(part.rows, header=part.head)


def fitting(grid: Grid, width: int) -> list[Grid]:
    """Cut a table into several that are at most so wide, each with the first column; cells stay whole."""
    names, *columns = zip(grid.head, *grid.rows, strict=True)
    tables: list[list[tuple[str, ...]]] = []
    room = 0
    for column in columns:
        needed = max(map(len, column)) + _BETWEEN
        if needed > room or not tables:
            tables.append([names])
            room = width - max(map(len, names)) - _BETWEEN
        tables[-1].append(column)
        room -= needed
    return [Grid(head, tuple(rows)) for head, *rows in (zip(*table, strict=True) for table in tables)]
