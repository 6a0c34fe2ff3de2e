"""Points with intervals as SVG inside a page: its colours, its fonts, no picture files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from polycompress.report.chart import short, ticks
from polycompress.report.text import escaped

WIDTH: Final = 460
HEIGHT: Final = 280
COLOURS: Final = 8
"""Classes ``series-0`` to ``series-7``; further series begin again."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 18, 26, 38
_RADIUS: Final = 3.5
_ROOM: Final = 1.15
"""On a logarithmic axis, beside the outermost points."""
_LOG_STEPS: Final = ((1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))
_FEW: Final = 3


@dataclass(frozen=True, slots=True)
class Dot:
    """A point."""

    x: float
    y: float
    low: float | None
    high: float | None
    label: str
    """Beside it; may be empty."""
    hint: str
    """For whoever points at it."""


@dataclass(frozen=True, slots=True)
class Dots:
    """Points that belong together."""

    name: str
    dots: tuple[Dot, ...]


def scatter(
    title: str,
    series: Sequence[Dots],
    *,
    across: str,
    up: str,
    logarithmic: bool = False,
    joined: bool = False,
) -> str:
    """A picture of points, as an SVG element.

    Args:
        title: Read to those who cannot see it.
        series: At least one with a point.
        across: What is measured from left to right.
        up: What is measured upwards.
        logarithmic: Whether the axis across is; its values are positive then.
        joined: Whether the points of a series are joined by a line, from left to right.

    Returns:
        Markup, escaped; classes ``series-0`` and so on wait for the page's colours.

    Raises:
        ValueError: There is nothing to draw, or a logarithm of nothing.
    """
    dots = [dot for each in series for dot in each.dots]
    if not dots or (logarithmic and min(dot.x for dot in dots) <= 0):
        raise ValueError("there is nothing to draw")
    axes = _Axes.around(dots, logarithmic)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escaped(title)}">',
        f"<title>{escaped(title)}</title>",
        *axes.drawn(across, up),
    ]
    for number, each in enumerate(series):
        style = f"series-{number % COLOURS}"
        ordered = sorted(each.dots, key=lambda dot: dot.x)
        if joined and len(ordered) > 1:
            places = " ".join(f"{axes.right(dot.x):.1f},{axes.down(dot.y):.1f}" for dot in ordered)
            parts.append(f'<polyline class="{style}" points="{places}"/>')
        for dot in ordered:
            parts += _drawn(dot, style, axes)
    return "".join([*parts, "</svg>"])


@dataclass(frozen=True, slots=True)
class _Axes:
    """Where values lie."""

    left: float
    right_end: float
    bottom: float
    top: float
    across_ticks: tuple[float, ...]
    up_ticks: tuple[float, ...]
    logarithmic: bool

    @classmethod
    def around(cls, dots: Sequence[Dot], logarithmic: bool) -> _Axes:
        """Axes with room for all points and intervals."""
        across = [dot.x for dot in dots]
        up = [value for dot in dots for value in (dot.y, dot.low, dot.high) if value is not None]
        up_ticks = ticks(min(up), max(up))
        if logarithmic:
            left, right = min(across) / _ROOM, max(across) * _ROOM
            across_ticks = log_ticks(left, right)
        else:
            across_ticks = ticks(min(across), max(across))
            left, right = min(*across_ticks, *across), max(*across_ticks, *across)
        return cls(
            left,
            right,
            min(*up_ticks, *up),
            max(*up_ticks, *up),
            tuple(across_ticks),
            tuple(up_ticks),
            logarithmic,
        )

    def right(self, x: float) -> float:
        """Where a value lies from the left."""
        low, high, value = self.left, self.right_end, x
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return _LEFT + (value - low) / max(high - low, 1e-300) * (WIDTH - _LEFT - _RIGHT)

    def down(self, y: float) -> float:
        """Where a value lies from the top."""
        share = (y - self.bottom) / max(self.top - self.bottom, 1e-300)
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)

    def drawn(self, across: str, up: str) -> list[str]:
        """Lines, numbers and names."""
        parts = []
        for tick in self.up_ticks:
            down = self.down(tick)
            parts.append(
                f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{down:.1f}" y2="{down:.1f}"/>'
                f'<text class="tick" x="{_LEFT - 6}" y="{down + 4:.1f}" text-anchor="end">{short(tick)}</text>'
            )
        for tick in self.across_ticks:
            parts.append(
                f'<text class="tick" x="{self.right(tick):.1f}" y="{HEIGHT - _BOTTOM + 16}" '
                f'text-anchor="middle">{short(tick)}</text>'
            )
        parts.append(
            f'<text class="tick" x="{WIDTH - _RIGHT}" y="{HEIGHT - 5}" text-anchor="end">{escaped(across)}</text>'
            f'<text class="tick" x="4" y="11">{escaped(up)}</text>'
        )
        return parts


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers in a range for a logarithmic axis: powers of ten, or as many between them as give three at least.

    Args:
        low: Least value, positive.
        high: Greatest value.
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    inside: list[float] = []
    for steps in _LOG_STEPS:
        found = [float(f"{step * 10.0**power:.12g}") for power in powers for step in steps]
        inside = [value for value in found if low <= value <= high]
        if len(inside) >= _FEW:
            break
    return inside or [float(f"{math.sqrt(low * high):.2g}")]


def _drawn(dot: Dot, style: str, axes: _Axes) -> list[str]:
    right, down = axes.right(dot.x), axes.down(dot.y)
    parts = [f'<g class="{style}"><title>{escaped(dot.hint)}</title>']
    if dot.low is not None and dot.high is not None:
        parts.append(
            f'<line class="interval" x1="{right:.1f}" x2="{right:.1f}" y1="{axes.down(dot.low):.1f}" '
            f'y2="{axes.down(dot.high):.1f}"/>'
        )
    parts.append(f'<circle cx="{right:.1f}" cy="{down:.1f}" r="{_RADIUS}"/>')
    if dot.label:
        left_of = right > WIDTH - _RIGHT - 30
        parts.append(
            f'<text class="label" x="{right + (-6 if left_of else 6):.1f}" y="{down - 5:.1f}"'
            f"{' text-anchor=' + chr(34) + 'end' + chr(34) if left_of else ''}>{escaped(dot.label)}</text>"
        )
    parts.append("</g>")
    return parts
