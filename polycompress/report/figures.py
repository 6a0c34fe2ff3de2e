"""What stands on a page beside text: tables, and pictures with the table of their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from polycompress.report.chart import Series, short
from polycompress.report.scatter import Dots

MAX_ROWS: Final = 500
"""Of a table: more would not be read, and a damaged file may have millions."""
MAX_STEPS: Final = 40
"""Places of a line in its table; a picture shows more."""


@dataclass(frozen=True, slots=True)
class Table:
    """Head, and rows of as many cells; the first column names its row."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1
    """So many columns from the left are words, the others numbers."""
    note: str = ""
    """What stands above it."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture."""

    title: str
    svg: str
    """Markup; whoever made it has escaped what it shows."""
    table: Table
    """The same in numbers."""
    keys: tuple[tuple[str, str], ...] = ()
    """Name and class of what colours stand for."""
    caption: str = ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1, note: str = "") -> Table:
    """A table of at most ``MAX_ROWS`` rows, which says how many more there were."""
    shown = tuple(tuple(row) for row in rows[:MAX_ROWS])
    if len(rows) > MAX_ROWS:
        note = f"{note} The first {MAX_ROWS} of {len(rows):,}.".strip()
    return Table(tuple(head), shown, words, note)


def series_table(series: Sequence[Series], across: str) -> Table:
    """The numbers of lines: a row for each place, or for some of them, evenly chosen from each line's.

    Args:
        series: Lines.
        across: What is counted from left to right.
    """
    places = sorted({x for each in series for x in _chosen([x for x, _ in each.points])})
    values = [dict(each.points) for each in series]
    rows = [
        (short_exact(x), *("" if (y := one.get(x)) is None else short_exact(y) for one in values))
        for x in places
    ]
    every = len({x for each in series for x, _ in each.points})
    note = f"{len(places)} of {every:,} measurements." if len(places) < every else ""
    return table((across, *(each.name for each in series)), rows, note=note)


def dots_table(series: Sequence[Dots], across: str, up: str) -> Table:
    """The numbers of points: a row each, with its interval."""
    rows = [
        (
            each.name,
            dot.label or dot.hint,
            short(dot.x) if dot.x >= 1000 else short_exact(dot.x),
            f"{dot.y:.4f}",
            "" if dot.low is None or dot.high is None else f"{dot.low:.4f} to {dot.high:.4f}",
        )
        for each in series
        for dot in each.dots
    ]
    return table(("", "", across, up, "95 % interval"), rows, words=2)


def short_exact(value: float) -> str:
    """A number with five significant digits, as people write it."""
    return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.5g}"


def _chosen(places: Sequence[float]) -> list[float]:
    """At most ``MAX_STEPS`` of some places, the first and the last among them."""
    last = len(places) - 1
    if last < MAX_STEPS:
        return list(places)
    return [places[round(number * last / (MAX_STEPS - 1))] for number in range(MAX_STEPS)]
