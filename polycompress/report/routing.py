"""Where a router sends each language's tokens: a picture, a panel a layer (extra `report`), and rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from polycompress.languages.finding import lookup_language
from polycompress.moe.routing_report import LayerRouting, RoutingReport
from polycompress.report.drawing import check_picture, drawing, save_picture
from polycompress.report.heatmap import LIGHT, luminance
from polycompress.report.overlap import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEADER: Final[tuple[str, ...]] = ("language", "tokens", "own", "entropy", "router")
"""Of the rows of a table; the experts' numbers follow, and what a language has moved."""
NUMBERS_UP_TO: Final = 16
"""With more experts, cells are too small for a number."""
_FRAME: Final = "#EE6677"
"""Told from every colour of the scale, by eyes of every kind, by its lightness where not by its hue."""
_CELL_INCHES: Final = (0.5, 0.26)
_NAME_INCHES: Final = 1.5
_AROUND_INCHES: Final = 1.1


def plot_routing(report: RoutingReport, path: Path) -> Path:
    """Draw the share of each language's choices that falls on each expert.

    Rows are languages, those of a family together; columns are experts, and the cells of a language's own family have a
    frame.

    Args:
        report: With at least one layer and language.
        path: File to write; its suffix (.png, .svg or .pdf) says how.

    Returns:
        The path.

    Raises:
        InputError: The suffix is another one.
        MissingExtraError: matplotlib is not installed.
        StorageError: The file cannot be written.
    """
    check_picture(path)
    with drawing():
        return save_picture(_draw(report), path)


def routing_rows(
    report: RoutingReport, layer: int, moved: Mapping[str, float] | None = None
) -> list[tuple[str, ...]]:
    """One layer as rows of text, a language each; see ``HEADER``.

    Args:
        report: The report.
        layer: Its number.
        moved: How far each language has moved, see ``RoutingReport.drift``; None: no such column.
    """
    seen = report.layers[layer]
    return [
        (
            code,
            f"{seen.tokens[row]:,}",
            f"{seen.at_home[row]:.0%}",
            f"{seen.entropy[row]:.2f}",
            f"{seen.uncertainty[row]:.2f}",
            *(f"{share:.0%}" for share in seen.shares[row].tolist()),
            *([] if moved is None else [f"{moved[code]:.1%}" if code in moved else "-"]),
        )
        for row, code in enumerate(report.languages)
    ]


def expert_names(report: RoutingReport) -> list[str]:
    """Each expert by its number and the families that it serves."""
    return [
        f"{expert} {', '.join(name for name, own in report.families.items() if expert in own)}"
        for expert in range(report.experts)
    ]


def _draw(report: RoutingReport) -> Figure:
    from matplotlib.figure import Figure

    width, height = _CELL_INCHES
    panels, rows = len(report.layers), len(report.languages)
    across = _NAME_INCHES + panels * (report.experts * width + 0.4)
    figure = Figure(
        figsize=(max(4.0, across), max(2.4, _AROUND_INCHES + rows * height + 0.7)), layout="constrained"
    )
    every = figure.subplots(1, panels, squeeze=False, sharey=True)[0]
    for axes, (number, layer) in zip(every, report.layers.items(), strict=True):
        _panel(axes, report, number, layer, names=axes is every[0])
    return figure


def _panel(axes: Axes, report: RoutingReport, number: int, layer: LayerRouting, *, names: bool) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    axes.imshow(layer.shares, cmap=colormaps[COLOURS], vmin=0.0, vmax=1 / report.top_k, aspect="auto")
    axes.set_title(f"layer {number}", fontsize=10.5, loc="left", pad=8)
    axes.set_xticks(
        range(report.experts),
        expert_names(report),
        rotation=45,
        ha="right",
        rotation_mode="anchor",
        parse_math=False,
    )
    if names:
        axes.set_yticks(range(len(report.languages)), _names(list(report.languages)), parse_math=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    for row, family in enumerate(report.languages.values()):
        for expert in report.families[family]:
            frame = Rectangle(
                (expert - 0.47, row - 0.46), 0.94, 0.92, fill=False, edgecolor=_FRAME, linewidth=1.4
            )
            axes.add_patch(frame)
    if report.experts <= NUMBERS_UP_TO:
        _write_numbers(axes, layer, report.top_k)


def _write_numbers(axes: Axes, layer: LayerRouting, top_k: int) -> None:
    from matplotlib import colormaps

    colours = colormaps[COLOURS]
    for row, shares in enumerate(layer.shares.tolist()):
        for expert, share in enumerate(shares):
            paper = 255 * np.array(colours(share * top_k)[:3])
            ink = "black" if luminance(paper.tolist()) > LIGHT else "white"
            axes.text(expert, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=8.5, color=ink)


def _names(codes: Sequence[str]) -> list[str]:
    found = [(code, lookup_language(code)) for code in codes]
    return [code if language is None else language.name for code, language in found]
