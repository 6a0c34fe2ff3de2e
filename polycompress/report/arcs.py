"""What was made from what, as SVG inside a page: one row for each thing, an arc from each to what it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from polycompress.report.text import escaped

WIDTH: Final = 420
ROW: Final = 30
_SPINE: Final = 92
_RADIUS: Final = 5
_LETTERS: Final = 40
"""That have room beside a point."""


@dataclass(frozen=True, slots=True)
class Node:
    """One thing."""

    name: str
    words: str
    """After the name, fainter."""
    style: str
    """Class of its point: ``made``, ``seen`` or ``left``."""
    sources: tuple[int, ...]
    """Places of what it was made from, all before it."""


def arcs(title: str, nodes: Sequence[Node]) -> str:
    """A picture of nodes one below the other, with lines to what they were made from.

    Args:
        title: Read to those who cannot see it.
        nodes: At least one.

    Returns:
        Markup, escaped; classes wait for the page's colours.

    Raises:
        ValueError: There is nothing to draw, or a source does not come before.
    """
    if not nodes or any(
        not 0 <= source < index for index, each in enumerate(nodes) for source in each.sources
    ):
        raise ValueError("there is nothing to draw, or something is made from what comes later")
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {ROW * len(nodes)}" role="img" aria-label="{escaped(title)}">',
        f"<title>{escaped(title)}</title>",
    ]
    edges = sorted(
        {(source, index) for index, each in enumerate(nodes) for source in each.sources},
        key=lambda edge: (edge[0] - edge[1], edge),
    )
    parts += [_edge(source, index, len(nodes)) for source, index in edges]
    parts += [_drawn(index, each) for index, each in enumerate(nodes)]
    return "".join([*parts, "</svg>"])


def _edge(source: int, index: int, count: int) -> str:
    top, bottom = _middle(source), _middle(index)
    if index - source == 1:
        return f'<path class="edge" d="M{_SPINE},{top} V{bottom}"/>'
    # The wider apart, the further out, up to the picture's edge.
    out = _SPINE - 14 - (_SPINE - 20) * (index - source) / max(count - 1, 1)
    reach = out - (_SPINE - out) / 3
    return (
        f'<path class="edge" d="M{_SPINE},{top} C{reach:.1f},{top} {reach:.1f},{bottom} {_SPINE},{bottom}"/>'
    )


def _drawn(index: int, node: Node) -> str:
    down = _middle(index)
    room = max(0, _LETTERS - len(node.name))
    words = node.words if len(node.words) <= room else f"{node.words[: max(0, room - 3)]}..."
    return (
        f'<circle class="{node.style}" cx="{_SPINE}" cy="{down}" r="{_RADIUS}"/>'
        f'<text x="{_SPINE + 14}" y="{down + 4}">{escaped(node.name)} '
        f'<tspan class="tick" dx="4">{escaped(words)}</tspan></text>'
    )


def _middle(index: int) -> int:
    return ROW * index + ROW // 2
