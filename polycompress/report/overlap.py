"""The heat map of what languages share of a vocabulary, drawn with matplotlib (extra `report`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.report.drawing import check_picture, drawing, save_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

COLOURS: Final = "cividis"
"""Dark blue to yellow, its lightness rising evenly: the same order for every colour vision and in grey."""
NUMBERS_UP_TO: Final = 12
"""With more languages, cells are too small for a number."""
_LIGHT: Final = 0.179
"""Luminance from which on black letters are read better than white ones; either way the contrast is 4.5 or more."""
_CELL_INCHES: Final = 0.5
_SMALL_CELL_INCHES: Final = 0.22
_AROUND_INCHES: Final = 2.2


def plot_overlap(names: Sequence[str], shares: NDArray[np.float64], path: Path, *, title: str = "") -> Path:
    """Draw how much pairs of languages share, as a square of colours, with numbers where they have room.

    The diagonal is left grey: every language shares all with itself, and colours would only show that.

    Args:
        names: L names of languages, at least two.
        shares: (L, L) shares between 0 and 1; rows and columns in the order of the names.
        path: File to write; its suffix (.png, .svg or .pdf) says how.
        title: What the numbers are.

    Returns:
        The path.

    Raises:
        InputError: The suffix is another one.
        ValueError: The matrix does not fit the names, or a number is out of its range.
        MissingExtraError: matplotlib is not installed.
        StorageError: The file cannot be written.

    Example:
        >>> plot_overlap(["German", "Dutch"], np.array([[1.0, 0.4], [0.4, 1.0]]), Path("overlap.png"))
    """
    check_picture(path)
    count = len(names)
    if count < 2 or shares.shape != (count, count):
        raise ValueError(f"{count} names do not fit shares of shape {shares.shape}; at least two are needed")
    if not bool(((shares >= -1e-9) & (shares <= 1 + 1e-9)).all()):
        raise ValueError("shares must lie between 0 and 1")
    with drawing():
        return save_picture(_draw(names, shares, title), path)


def _draw(names: Sequence[str], shares: NDArray[np.float64], title: str) -> Figure:
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    count = len(names)
    inches = _AROUND_INCHES + count * (_CELL_INCHES if count <= NUMBERS_UP_TO else _SMALL_CELL_INCHES)
    figure = Figure(figsize=(max(4.2, inches + 0.6), max(3.4, inches - 0.4)), layout="constrained")
    axes = figure.subplots()
    shown = np.ma.masked_array(shares, mask=np.eye(count, dtype=np.bool_))
    highest = max(float(shown.max()), 0.01)
    colours = colormaps[COLOURS].with_extremes(bad="#E6E6E6")
    image = axes.imshow(shown, cmap=colours, vmin=0.0, vmax=highest)
    size = 9.5 if count <= 2 * NUMBERS_UP_TO else 7.0
    places = range(count)
    axes.set_xticks(
        places, names, rotation=45, ha="right", rotation_mode="anchor", fontsize=size, parse_math=False
    )
    axes.set_yticks(places, names, fontsize=size, parse_math=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        figure.suptitle(title, fontsize=10.5, x=0.02, ha="left", parse_math=False)
    if count <= NUMBERS_UP_TO:
        _write_numbers(axes, shares, highest, colours)
    bar = figure.colorbar(
        image, ax=axes, shrink=0.8, format=PercentFormatter(1.0, decimals=0 if highest >= 0.1 else None)
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    return figure


def _write_numbers(axes: Axes, shares: NDArray[np.float64], highest: float, colours: Colormap) -> None:
    for row, values in enumerate(shares):
        for column, value in enumerate(values):
            if row == column:
                continue
            text = f"{100 * value:.0f}" if value >= 0.0995 else f"{100 * value:.1f}"
            ink = "black" if _luminance(colours(value / highest)) > _LIGHT else "white"
            axes.text(column, row, text, ha="center", va="center", fontsize=8.5, color=ink)


def _luminance(colour: Sequence[float]) -> float:
    """Relative luminance of an sRGB colour, as WCAG 2.1 defines it."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
