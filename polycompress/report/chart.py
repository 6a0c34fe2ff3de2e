"""Line charts as SVG inside a page: its colours, its fonts, no picture files."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from polycompress.report.text import escaped

COLOURS: Final = 8
"""Classes ``line-0`` to ``line-7``; further lines begin again, and have the class ``again`` besides."""
WIDTH: Final = 420
HEIGHT: Final = 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 12, 34
_TICKS: Final = 5
MAX_POINTS: Final = 400
"""Of a line: more would not be seen."""

Point = tuple[float, float | None]
"""Across, and up; None is a gap."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line."""

    name: str
    points: tuple[Point, ...]


def line_chart(title: str, series: Sequence[Series], *, across: str) -> str:
    """A chart of some lines, as an SVG element.

    Args:
        title: Read to those who cannot see it.
        series: Lines, at least one with a number in it.
        across: What is counted from left to right.

    Returns:
        Markup, escaped; classes ``line-0``, ``line-1`` and so on wait for the page's colours, see ``COLOURS``.

    Raises:
        ValueError: There is nothing to draw.
    """
    thinned = [Series(each.name, thin(each.points)) for each in series]
    across_all = [x for each in thinned for x, _ in each.points]
    up_all = [y for each in thinned for _, y in each.points if y is not None]
    if not up_all:
        raise ValueError("there is nothing to draw")
    across_ticks = ticks(min(across_all), max(across_all), whole=True)
    up_ticks = ticks(min(up_all), max(up_all))
    low, high = min(*up_ticks, *up_all), max(*up_ticks, *up_all)
    first, last = min(across_all), max(*across_all, min(across_all) + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        right = _LEFT + (x - first) / (last - first) * (WIDTH - _LEFT - _RIGHT)
        down = HEIGHT - _BOTTOM - (y - low) / max(high - low, 1e-300) * (HEIGHT - _TOP - _BOTTOM)
        return right, down

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escaped(title)}">',
        f"<title>{escaped(title)}</title>",
    ]
    for tick in up_ticks:
        _, down = place(first, tick)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{down:.1f}" y2="{down:.1f}"/>'
            f'<text class="tick" x="{_LEFT - 6}" y="{down + 4:.1f}" text-anchor="end">{short(tick)}</text>'
        )
    for tick in across_ticks:
        if first <= tick <= last:
            right, _ = place(tick, low)
            down = HEIGHT - _BOTTOM + 16
            parts.append(
                f'<text class="tick" x="{right:.1f}" y="{down}" text-anchor="middle">{short(tick)}</text>'
            )
    parts.append(
        f'<text class="tick" x="{WIDTH - _RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{escaped(across)}</text>'
    )
    for number, each in enumerate(thinned):
        style = line_class("line", number)
        for run in _runs(each.points):
            places = [place(x, y) for x, y in run]
            if len(places) == 1:
                parts.append(
                    f'<circle class="{style}" cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="2.5"/>'
                )
            else:
                drawn = " ".join(f"{right:.1f},{down:.1f}" for right, down in places)
                parts.append(f'<polyline class="{style}" points="{drawn}"/>')
    return "".join([*parts, "</svg>"])


def line_class(kind: str, number: int) -> str:
    """Classes of the line of a number, or of its key.

    Args:
        kind: ``line`` or ``key``.
        number: From 0.
    """
    return f"{kind}-{number % COLOURS}{' again' if number >= COLOURS else ''}"


def ticks(low: float, high: float, *, whole: bool = False) -> list[float]:
    """Round numbers that cover a range, about five of them.

    Args:
        low: Least value.
        high: Greatest value.
        whole: Whether only whole numbers will do.
    """
    span = high - low
    if span <= 0:
        span = abs(high) or 1.0
    rough = span / _TICKS
    if rough < sys.float_info.min:  # its powers of ten may be nothing
        rough = 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    if whole:
        step = max(1.0, step)
    begin = math.floor(low / step + 1e-9)
    end = math.ceil(high / step - 1e-9)
    return [float(f"{index * step:.12g}") for index in range(begin, max(end, begin + 1) + 1)]


def short(value: float) -> str:
    """A number on an axis: 1.5k, 2M, 0.003, 5e-05."""
    for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= scale:
            return f"{value / scale:g}{unit}"
    return f"{value:g}"


def thin(points: Sequence[Point], limit: int = MAX_POINTS) -> tuple[Point, ...]:
    """At most so many points: each the mean of neighbours, gaps left out where there are others."""
    if len(points) <= limit:
        return tuple(points)
    thinned: list[Point] = []
    for number in range(limit):
        part = points[number * len(points) // limit : (number + 1) * len(points) // limit]
        values = [y for _, y in part if y is not None]
        across = math.fsum(x for x, _ in part) / len(part)
        thinned.append((across, math.fsum(values) / len(values) if values else None))
    return tuple(thinned)


def _runs(points: Sequence[Point]) -> list[list[tuple[float, float]]]:
    """Stretches without gaps."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append((x, y))
    return [run for run in runs if run]
