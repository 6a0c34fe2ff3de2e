"""Results of evaluations and benchmarks as one page: a heat map, scores by size and by loyalty, speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.errors import MissingExtraError
from polycompress.evaluation.speed_table import SpeedTable
from polycompress.modeldir.atomic import atomic_file
from polycompress.modeldir.figures import UNKNOWN, parameters, share, size
from polycompress.report.comparison import Panel, correlation, left_out, loyalty_panels, size_panels
from polycompress.report.heatmap import HeatMap, heat_map
from polycompress.report.result_files import Judged, Model, Results, read_results
from polycompress.report.scatter import COLOURS, scatter

PAGE: Final = "report.html"
_TEMPLATE: Final = "results.html"


@dataclass(frozen=True, kw_only=True, slots=True)
class ResultsReport:
    """What a page says."""

    name: str
    models: tuple[Model, ...]
    """The first has the number 1."""
    heat_map: HeatMap | None
    by_size: tuple[Panel, ...]
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
        by_loyalty=loyalty_panels(judged, models),
        speed=found.speed,
        notes=tuple(dict.fromkeys([*said, *left_out(judged)])),
    )


def render_results(report: ResultsReport) -> str:
    """The page. Whatever comes from files is escaped, and the page may load nothing.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise MissingExtraError("polycompress report", "report") from error
    environment = Environment(
        loader=PackageLoader("polycompress.report", "."), autoescape=True, undefined=StrictUndefined
    )
    # scatter escapes what it is given.
    pictures = [
        (
            title,
            [(panel, Markup(_picture(panel, logarithmic)), _words(panel, logarithmic)) for panel in panels],
        )
        for title, panels, logarithmic in (
            ("Score by size", report.by_size, True),
            ("Score by loyalty", report.by_loyalty, False),
        )
        if panels
    ]
    models = [
        (
            each,
            parameters(each.parameters),
            share(each.embedding, each.parameters),
            size(each.bytes),
            each.trained_on or UNKNOWN,
        )
        for each in report.models
    ]
    return environment.get_template(_TEMPLATE).render(
        report=report, models=models, pictures=pictures, colours=COLOURS
    )


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
    text = render_results(report)
    with atomic_file(target) as file:
        file.write(text.encode("utf-8", "backslashreplace"))
    return report, target


def _models(judged: Sequence[Judged]) -> tuple[Model, ...]:
    """Each once, the largest first, those of unknown size last."""
    found = dict.fromkeys(each.model for each in judged)
    return tuple(sorted(found, key=lambda model: (-(model.parameters or -1), model.name, model.path)))


def _picture(panel: Panel, logarithmic: bool) -> str:
    title = f"{panel.task}: {panel.up} by {panel.across}"
    return scatter(
        title, panel.series, across=panel.across, up=panel.up, logarithmic=logarithmic, joined=panel.joined
    )


def _words(panel: Panel, logarithmic: bool) -> str:
    """What stands under a picture."""
    found = None if logarithmic else correlation(panel)
    said = [panel.caption, *([f"correlation {found:.2f}"] if found is not None else [])]
    return "; ".join(filter(None, said))
