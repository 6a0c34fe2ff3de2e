"""A training run as one page: curves, languages, settings. Needs nothing but the file, on any screen, light or dark."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.report.chart import Series, line_chart, line_class
from polycompress.report.figures import MAX_ROWS, Figure, series_table
from polycompress.report.pages import PAGE, render_page, write_page
from polycompress.report.result_files import WANTED
from polycompress.training.metrics import METRICS_FILE, read_metrics
from polycompress.training.run_files import FINAL, read_run

_TEMPLATE: Final = "run.html"
_BY_LANGUAGE: Final = (
    ("Shares of the languages", "language_shares"),
    ("How far languages lag behind", "language_ratios"),
)
_CURVES: Final[tuple[tuple[str, tuple[tuple[str, str], ...]], ...]] = (
    ("Loss", (("loss", "training"), ("held_out_loss", "held out"))),
    ("Learning rate", (("learning_rate", "learning rate"),)),
    ("Tokens a second", (("tokens_per_second", "tokens a second"),)),
    ("Gradient norm", (("gradient_norm", "gradient norm"),)),
    ("Memory, MiB", (("memory_mib", "now"), ("peak_memory_mib", "peak"))),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """What a page says."""

    name: str
    source: str
    command: str
    finished: bool
    step: int
    steps: int
    facts: tuple[tuple[str, str], ...]
    curves: tuple[tuple[str, tuple[Series, ...]], ...]
    languages: tuple[tuple[str, int, float], ...]
    """Name, tokens, share."""
    settings: tuple[tuple[str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def read_report(run: Path) -> RunReport:
    """Gather what is to be said of a run, finished or not.

    Args:
        run: Its directory.

    Raises:
        InputError: It is none of a run, or has measured nothing.
    """
    try:
        config = read_run(run)
    except InputError as error:
        raise InputError(f"{error} {WANTED}") from error
    records = read_metrics(run / METRICS_FILE)
    last = records[-1] if records else {}
    source, names = _part(config, "source"), _language_names(config)
    command = config.get("command")
    return RunReport(
        name=run.resolve().name,
        source=str(source.get("name") or "unknown"),
        command=shlex.join(map(str, command)) if isinstance(command, list) else "",
        finished=(run / FINAL).is_dir(),
        step=_whole(last.get("step")),
        steps=_whole(last.get("steps")) or _whole(_part(config["settings"], "training").get("steps")),
        facts=_facts(last, records),
        curves=(*_curves(records), *_curves_by_language(records, names)),
        languages=_languages(last, names),
        settings=tuple(_flat(config["settings"]))[:MAX_ROWS],
    )


def render_report(report: RunReport) -> str:
    """The page. Whatever comes from files is escaped, and the page may load nothing.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    return render_page(_TEMPLATE, report=report, figures=curve_figures(report))


def curve_figures(report: RunReport) -> list[Figure]:
    """The curves of a run as pictures."""
    return [
        Figure(
            title,
            line_chart(title, series, across="step"),
            series_table(series, "step"),
            tuple((each.name, line_class("key", number)) for number, each in enumerate(series)),
        )
        for title, series in report.curves
    ]


def write_report(run: Path, page: Path | None = None) -> tuple[RunReport, Path]:
    """Write the page of a run.

    Args:
        run: Its directory.
        page: The file; by default ``report.html`` in the run.

    Returns:
        What the page says, and where it is.

    Raises:
        InputError: There is no such run.
        StorageError: The disk refused.
    """
    report = read_report(run)
    target = run / PAGE if page is None else page
    write_page(target, render_report(report))
    return report, target


def _facts(last: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, str], ...]:
    held_out = [value for each in records if (value := _number(each.get("held_out_loss"))) is not None]
    speeds = sorted(
        value for each in records if (value := _number(each.get("tokens_per_second"))) is not None
    )
    found = {
        "loss": _shown(_number(last.get("loss")), ".4f"),
        "best loss on held-out text": f"{min(held_out):.4f}" if held_out else None,
        "tokens": _shown(_number(last.get("tokens")), ",.0f"),
        "tokens a second, median": f"{speeds[len(speeds) // 2]:,.0f}" if speeds else None,
        "hours of computing": _shown(_hours(last), ".2f"),
        "peak memory, MiB": _shown(_number(last.get("peak_memory_mib")), ",.0f"),
    }
    return tuple((name, value) for name, value in found.items() if value is not None)


def _curves(records: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, tuple[Series, ...]], ...]:
    curves = []
    for title, lines in _CURVES:
        series = []
        for key, name in lines:
            # A value that is null was not finite: a gap. One that is missing was not measured then.
            points = tuple((float(each["step"]), _number(each[key])) for each in records if key in each)
            if any(y is not None for _, y in points):
                series.append(Series(name, points))
        if series:
            curves.append((title, tuple(series)))
    return tuple(curves)


def _curves_by_language(
    records: Sequence[Mapping[str, Any]], names: Mapping[str, str]
) -> tuple[tuple[str, tuple[Series, ...]], ...]:
    """What was measured of each language, where it was."""
    curves = []
    for title, key in _BY_LANGUAGE:
        found = [(float(each["step"]), _part(each, key)) for each in records if _part(each, key)]
        codes = dict.fromkeys(str(code) for _, values in found for code in values)
        series = [
            Series(names.get(code, code), tuple((step, _number(values.get(code))) for step, values in found))
            for code in codes
        ]
        shown = tuple(each for each in series if any(y is not None for _, y in each.points))
        if shown:
            curves.append((title, shown))
    return tuple(curves)


def _languages(last: Mapping[str, Any], names: Mapping[str, str]) -> tuple[tuple[str, int, float], ...]:
    tokens = {str(code): _whole(value) for code, value in _part(last, "language_tokens").items()}
    total = max(1, sum(tokens.values()))
    ordered = sorted(tokens.items(), key=lambda pair: -pair[1])
    return tuple((names.get(code, code), value, value / total) for code, value in ordered[:MAX_ROWS])


def _language_names(config: Mapping[str, Any]) -> dict[str, str]:
    listed = config.get("languages")
    return {
        str(each.get("code")): str(each.get("name") or each.get("code"))
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, dict)
    }


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, Mapping):
        return [
            pair for key, item in value.items() for pair in _flat(item, f"{name}.{key}" if name else str(key))
        ]
    if isinstance(value, list):
        return [(name, ", ".join(map(str, value)) or "-")]
    return [(name, "-" if value is None else str(value))]


def _part(mapping: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = mapping.get(key)
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62 else 0


def _shown(value: float | None, form: str) -> str | None:
    return None if value is None else format(value, form)


def _hours(last: Mapping[str, Any]) -> float | None:
    seconds = _number(last.get("seconds"))
    return None if seconds is None else seconds / 3600
