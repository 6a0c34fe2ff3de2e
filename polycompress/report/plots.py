"""Pictures of what was measured, drawn with matplotlib (extra `report`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.report.drawing import INK, check_picture, drawing, save_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[int, float, float | None]
"""Vocabulary size, share of tokens that are kept, share of held-out texts that stay as they were."""

# Paul Tol's "bright" and "muted" schemes: distinct for every common colour vision, and dark enough on white.
_COLOURS = ("#4477AA", "#EE6677", "#228833", "#AA3377", "#CC8400", "#2A9DB8", "#882255", "#666666")
_DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.2, 1.5)))
_FAINT = "#DDDDDD"
_RING: Final[Mapping[str, Any]] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 7.5,
    "markerfacecolor": "white",
    "markeredgewidth": 1.8,
    "zorder": 3,
    "clip_on": False,
}
_FLOOR = 1e-5  # tokens fewer than one in a hundred thousand count as none
_LINE_INCHES = 0.195  # height of one line of text
_AROUND_INCHES = 0.75  # height of a figure beyond that of its panels: titles and axes


def plot_frontier(
    curves: Mapping[str, Sequence[Point]],
    path: Path,
    *,
    default_sizes: Mapping[str, int] | None = None,
    unit: str = "texts",
) -> Path:
    """Draw vocabulary size against what it costs, one line a language.

    The left panel shows the expected share of tokens that have to be split anew, on a logarithmic axis; the
    right one the share of held-out texts that segment exactly as before. Languages without that second number
    are drawn on the left only; where no language has it there is no right panel.

    Args:
        curves: By language, its points in any order.
        path: File to write; its suffix (.png, .svg or .pdf) says how.
        default_sizes: By language, the size to mark.
        unit: What the held-out texts are: "sentences", "words", "texts".

    Returns:
        The path.

    Raises:
        InputError: The suffix is another one.
        ValueError: There is nothing to draw, or a number is out of its range.
        MissingExtraError: matplotlib is not installed.
        StorageError: The file cannot be written.

    Example:
        >>> plot_frontier({"German": [(10_000, 0.99, 0.4), (40_000, 0.999, 0.9)]}, Path("frontier.png"))
    """
    check_picture(path)
    arrays = {label: _checked(label, points) for label, points in curves.items()}
    if not arrays:
        raise ValueError("there are no curves to draw")
    with drawing():
        return save_picture(_draw(arrays, default_sizes or {}, unit), path)


def spread(positions: Sequence[float], gap: float, *, low: float = 0.0, high: float = 1.0) -> list[float]:
    """Move labels apart until no two are closer than a gap, each as little as possible.

    Args:
        positions: Where the labels want to be.
        gap: Smallest distance of two neighbours; smaller if they would not fit otherwise.
        low: Lowest place.
        high: Highest place.

    Returns:
        Where they go, in the order given; those that want to be lower stay lower.
    """
    if not positions:
        return []
    gap = min(gap, (high - low) / max(1, len(positions) - 1))
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    # Labels that touch form a block whose middle is the middle of what its members want.
    blocks: list[list[float]] = []
    for rank, index in enumerate(order):
        blocks.append([positions[index] - rank * gap])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    starts = [float(np.mean(block)) for block in blocks for _ in block]
    last = high - (len(order) - 1) * gap
    placed = [0.0] * len(order)
    for rank, index in enumerate(order):
        placed[index] = min(max(starts[rank], low), last) + rank * gap
    return placed


def _checked(label: str, points: Sequence[Point]) -> NDArray[np.float64]:
    """Points by rising size, (points, 3); a missing share is NaN."""
    rows = np.array(
        sorted((size, kept, np.nan if same is None else same) for size, kept, same in points),
        dtype=np.float64,
    ).reshape(-1, 3)
    shares = rows[:, 1:][~np.isnan(rows[:, 1:])].round(9)  # a sum of shares may miss 1 by a rounding error
    if not len(rows) or rows[0, 0] <= 0 or np.isnan(rows[:, 1]).any() or ((shares < 0) | (shares > 1)).any():
        raise ValueError(f"curve '{label}' needs points with a positive size and shares between 0 and 1")
    return rows


def _draw(arrays: dict[str, NDArray[np.float64]], marked: Mapping[str, int], unit: str = "texts") -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

    panels = 2 if any(not np.isnan(rows[:, 2]).all() for rows in arrays.values()) else 1
    height = max(3.9, _AROUND_INCHES + _LINE_INCHES * (len(arrays) + 1))
    figure = Figure(figsize=(4.9 * panels, height), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    losses = _losses(arrays)
    low, high = (f(np.concatenate([line[:, 1] for line in losses.values()])) for f in (np.min, np.max))
    axes[0].set_yscale("log")
    axes[0].set_ylim(max(low / 1.3, _FLOOR), high * 1.3)
    _panel(axes[0], losses, marked, "Tokens that have to be split anew")
    axes[0].yaxis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 200 else (1.0, 2.0, 5.0)))
    axes[0].yaxis.set_major_formatter(FuncFormatter(_percent))
    axes[0].yaxis.set_minor_locator(NullLocator())
    if any(label in arrays for label in marked):
        _explain_marks(axes[0])
    if panels == 2:
        axes[1].set_ylim(0, 1)
        same = {label: rows[~np.isnan(rows[:, 2])][:, [0, 2]] for label, rows in arrays.items()}
        _panel(axes[1], same, marked, f"Held-out {unit} that stay as they were")
        axes[1].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure


def _losses(arrays: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Size and share of tokens lost, which is at least the floor."""
    return {
        label: np.column_stack([rows[:, 0], np.maximum(1 - rows[:, 1], _FLOOR)])
        for label, rows in arrays.items()
    }


def _percent(share: float, _: int) -> str:
    return f"{'≤' if share <= _FLOOR * 1.001 else ''}{100 * share:g}%"


def _panel(axes: Axes, lines: dict[str, NDArray[np.float64]], marked: Mapping[str, int], title: str) -> None:
    axes.set_xscale("log")
    axes.set_title(title, fontsize=10.5, loc="left", pad=10)
    axes.set_xlabel("tokens kept")
    axes.grid(color=_FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    ends = []
    for index, (label, line) in enumerate(lines.items()):
        if not len(line):
            continue
        colour = _COLOURS[index % len(_COLOURS)]
        dash = _DASHES[index // len(_COLOURS) % len(_DASHES)]
        axes.plot(line[:, 0], line[:, 1], color=colour, linestyle=dash, linewidth=1.8, clip_on=False)
        ends.append((label, colour, line[-1]))
        if label in marked:
            _mark(axes, line, marked[label], colour)
    _size_axis(axes, np.concatenate([line[:, 0] for line in lines.values()]))
    _name_lines(axes, ends)


def _mark(axes: Axes, line: NDArray[np.float64], size: int, colour: str) -> None:
    """Put a ring on a line where its language's default size lies, if that is within it."""
    if line[0, 0] <= size <= line[-1, 0]:
        log = axes.get_yscale() == "log"
        heights = np.log(line[:, 1]) if log else line[:, 1]
        height = np.interp(np.log(size), np.log(line[:, 0]), heights)
        axes.plot([size], [np.exp(height) if log else height], **_RING, markeredgecolor=colour)


def _explain_marks(axes: Axes) -> None:
    from matplotlib.lines import Line2D

    ring = Line2D([], [], **_RING, markeredgecolor=INK, label="chosen by default")
    axes.legend(handles=[ring], loc="lower left", framealpha=0.9, edgecolor="none", handletextpad=0.2)


def _size_axis(axes: Axes, sizes: NDArray[np.float64]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = float(sizes.min()), float(sizes.max())
    axes.set_xlim(low / 1.06, high * 1.06)
    round_sizes = [step * 10.0**power for power in range(10) for step in (1, 2, 5)]
    axes.xaxis.set_major_locator(
        FixedLocator([size for size in round_sizes if low / 1.06 <= size <= high * 1.06])
    )
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda size, _: f"{size / 1000:g}k" if size >= 1000 else f"{size:g}")
    )
    axes.xaxis.set_minor_locator(NullLocator())


def _name_lines(axes: Axes, ends: list[tuple[str, str, NDArray[np.float64]]]) -> None:
    """Write each line's name beside its end, moved where names would overlap."""
    to_axes = axes.transData + axes.transAxes.inverted()
    wanted = [float(to_axes.transform(end)[1]) for _, _, end in ends]
    figure = axes.get_figure(root=True)
    gap = _LINE_INCHES / (figure.get_figheight() - _AROUND_INCHES) if figure is not None else 0.0
    for (label, colour, end), place in zip(ends, spread(wanted, gap), strict=True):
        axes.annotate(
            label,
            xy=(float(end[0]), float(end[1])),
            xytext=(1.06, place),
            textcoords="axes fraction",
            color=colour,
            va="center",
            parse_math=False,
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.6,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 2,
            },
        )
