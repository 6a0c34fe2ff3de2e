"""Results of evaluations and benchmarks as one page: a heat map, scores by size and by loyalty, speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.evaluation.speed_table import SpeedTable
from polycompress.modeldir.figures import UNKNOWN, join, parameters, share, size
from polycompress.report.comparison import (
    Panel,
    correlation,
    left_out,
    loyalty_panels,
    size_panels,
    speed_panels,
)
from polycompress.report.figures import Figure, Table, dots_table, table
from polycompress.report.heatmap import HeatMap, heat_map
from polycompress.report.pages import PAGE, render_page, write_page
from polycompress.report.result_files import Judged, Model, Results, read_results
from polycompress.report.scatter import COLOURS, scatter

_TEMPLATE: Final = "results.html"


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultsReport:
    """What a page says."""

    name: str
    models: tuple[Model, ...]
    """The first has the number 1."""
    heat_map: HeatMap | None
    by_size: tuple[Panel, ...]
    by_speed: tuple[Panel, ...]
    by_loyalty: tuple[Panel, ...]
    speed: tuple[tuple[str, tuple[SpeedTable, ...]], ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def read_results_report(root: Path) -> ResultsReport:
    """Gather what is to be said of a directory of results.

    Raises:
        InputError: It holds none, or they are damaged.
    """
    return make_report(root.resolve().name, read_results(root))


def make_report(name: str, found: Results) -> ResultsReport:
    """Lay out results.

    Args:
        name: What to call them.
        found: The results.
    """
    models = _models(found.judged)
    judged = sorted(found.judged, key=lambda each: models.index(each.model))
    said = [note for each in judged for note in each.notes]
    return ResultsReport(
        name=name,
        models=models,
        heat_map=heat_map(judged, models) if judged else None,
        by_size=size_panels(judged, models),
        by_speed=speed_panels(judged, models, found.rates),
        by_loyalty=loyalty_panels(judged, models),
        speed=found.speed,
        notes=tuple(dict.fromkeys([*said, *left_out(judged)])),
    )


def render_results(report: ResultsReport) -> str:
    """The page. Whatever comes from files is escaped, and the page may load nothing.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    return render_page(_TEMPLATE, report=report, scores=shown_scores(report))


def shown_scores(report: ResultsReport) -> dict[str, Any]:
    """What ``scores.html`` shows of results: tables, pictures."""
    kinds = [
        (name, panels, name != "loyalty")
        for name, panels in (
            ("size", report.by_size),
            ("speed", report.by_speed),
            ("loyalty", report.by_loyalty),
        )
        if panels
    ]
    return {
        "models": _model_table(report.models) if report.models else None,
        "heat_map": report.heat_map,
        "by": join([name for name, _, _ in kinds]),
        "pictures": [_figure(each, logarithmic) for _, panels, logarithmic in kinds for each in panels],
        "speed": report.speed,
    }


def write_results_report(root: Path, page: Path | None = None) -> tuple[ResultsReport, Path]:
    """Write the page of a directory of results.

    Args:
        root: The directory.
        page: The file; by default ``report.html`` in the directory.

    Returns:
        What the page says, and where it is.

    Raises:
        InputError: There are no results.
        StorageError: The disk refused.
    """
    report = read_results_report(root)
    target = root / PAGE if page is None else page
    write_page(target, render_results(report))
    return report, target


def _models(judged: Sequence[Judged]) -> tuple[Model, ...]:
    """Each once, the largest first, those of unknown size last."""
    found = dict.fromkeys(each.model for each in judged)
    return tuple(sorted(found, key=lambda model: (-(model.parameters or -1), model.name, model.path)))


def _model_table(models: Sequence[Model]) -> Table:
    rows = [
        (
            str(number),
            f"{each.name} ({each.path})" if each.path and each.path != each.name else each.name,
            each.trained_on or UNKNOWN,
            parameters(each.parameters),
            share(each.embedding, each.parameters),
            size(each.bytes),
        )
        for number, each in enumerate(models, start=1)
    ]
    head = ("no.", "model", "trained on", "parameters", "of them in the input table", "on disk")
    return table(head, rows, words=3)


def _figure(panel: Panel, logarithmic: bool) -> Figure:
    title = f"{panel.task}: {panel.up} by {panel.across}"
    svg = scatter(
        title, panel.series, across=panel.across, up=panel.up, logarithmic=logarithmic, joined=panel.joined
    )
    keys = tuple((each.name, f"key-{number % COLOURS}") for number, each in enumerate(panel.series))
    numbers = dots_table(panel.series, panel.across, panel.up)
    return Figure(f"{panel.task} by {panel.across}", svg, numbers, keys, _words(panel, logarithmic))


def _words(panel: Panel, logarithmic: bool) -> str:
    """What stands under a picture."""
    found = None if logarithmic else correlation(panel)
    said = [panel.caption, *([f"correlation {found:.2f}"] if found is not None else [])]
    return "; ".join(filter(None, said))
