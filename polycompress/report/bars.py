"""Bars of sizes as SVG inside a page: its colours, its fonts, no picture files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from polycompress.report.text import escaped

WIDTH: Final = 420
ROW: Final = 40
"""Of each bar, with its words above it."""
_THICK: Final = 14
_LETTERS: Final = 52
"""That have room above a bar."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar."""

    name: str
    value: float
    part: float | None
    """Share of it in another colour, 0 to 1."""
    words: str
    """Beside the name."""


def bars(title: str, rows: Sequence[Bar]) -> str:
    """A picture of bars from the left, the longest as wide as there is room.

    Args:
        title: Read to those who cannot see it.
        rows: At least one with a value above 0.

    Returns:
        Markup, escaped; classes ``bar`` and ``part`` wait for the page's colours.

    Raises:
        ValueError: There is nothing to draw.
    """
    most = max((each.value for each in rows), default=0.0)
    if most <= 0:
        raise ValueError("there is nothing to draw")
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {ROW * len(rows)}" role="img" aria-label="{escaped(title)}">',
        f"<title>{escaped(title)}</title>",
    ]
    for index, each in enumerate(rows):
        top, wide = ROW * index, WIDTH * each.value / most
        room = max(0, _LETTERS - len(each.words))
        name = each.name if len(each.name) <= room else f"{each.name[: max(0, room - 3)]}..."
        parts.append(
            f'<text x="0" y="{top + 13}">{escaped(name)}</text>'
            f'<text class="tick" x="{WIDTH}" y="{top + 13}" text-anchor="end">{escaped(each.words)}</text>'
            f'<rect class="bar" x="0" y="{top + 18}" width="{max(wide, 1):.1f}" height="{_THICK}"/>'
        )
        if each.part:
            part = wide * min(max(each.part, 0.0), 1.0)
            parts.append(
                f'<rect class="bar part" x="0" y="{top + 18}" width="{part:.1f}" height="{_THICK}"/>'
            )
    return "".join([*parts, "</svg>"])
