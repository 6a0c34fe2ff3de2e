"""What pictures show of each task: scores by size of the model, by its speed, and by loyalty to its teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from polycompress.evaluation.records import Part
from polycompress.evaluation.result_table import part_name
from polycompress.report.heatmap import mean_over_languages
from polycompress.report.result_files import Judged, Model
from polycompress.report.scatter import COLOURS, Dot, Dots
from polycompress.report.speeds import Speed

MEASURES: Final = (
    ("label", "label loyalty"),
    ("probability", "probability loyalty"),
    ("regression", "regression loyalty"),
    ("cka", "CKA with the teacher"),
)
"""Measures of loyalty in the order in which one is taken for the picture."""
_NAMED: Final = 12
"""Points of a model that have room for their language's code."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture."""

    task: str
    up: str
    across: str
    caption: str
    series: tuple[Dots, ...]
    joined: bool


def size_panels(judged: Sequence[Judged], models: Sequence[Model]) -> tuple[Panel, ...]:
    """Scores by number of parameters, one picture for each task on which models of known size were judged.

    Up to eight languages have a line each. With more there is the mean over the languages that all models have; its
    interval runs from the mean of their lower ends to that of their upper ends, which is right where languages err
    together and too wide where they do not.
    """
    return _panels(
        judged, models, "parameters", {each: each.parameters for each in models if each.parameters}
    )


def speed_panels(
    judged: Sequence[Judged], models: Sequence[Model], speeds: Sequence[Speed]
) -> tuple[Panel, ...]:
    """Scores by tokens a second, as ``size_panels``, of tasks on which at least two models were judged and timed."""
    panels = []
    for speed in speeds:
        known = {each: rate for each in models if (rate := speed.rate_of(each.path, each.manifest))}
        for panel in _panels(judged, models, "tokens a second", known):
            if len({dot.label for each in panel.series for dot in each.dots}) > 1:
                panels.append(replace(panel, caption=f"{panel.caption}; {speed.how}"))
    return tuple(panels)


def _panels(
    judged: Sequence[Judged], models: Sequence[Model], across: str, known: Mapping[Model, float]
) -> tuple[Panel, ...]:
    panels = []
    for task in dict.fromkeys(each.task for each in judged):
        placed = [each for each in judged if each.task == task and each.model in known and each.scores]
        parts = sorted({part for each in placed for part in each.scores})
        if not placed:
            continue
        if len(parts) <= COLOURS:
            panels.append(_by_language(task, placed, parts, models, across, known))
        elif shared := _shared(placed):
            panels.append(_means(task, placed, shared, models, across, known))
    return tuple(panels)


def loyalty_panels(judged: Sequence[Judged], models: Sequence[Model]) -> tuple[Panel, ...]:
    """Scores by loyalty, one picture for each task with a teacher: a series for each model, a point for each part."""
    panels = []
    for task in dict.fromkeys(each.task for each in judged):
        taught = [each for each in judged if each.task == task and each.loyalty]
        for measure, name in MEASURES:
            series = tuple(dots for each in taught if (dots := _loyal(each, measure, name, models)).dots)
            if series:
                teachers = ", ".join(dict.fromkeys(each.teacher for each in taught if each.teacher))
                caption = f"loyalty to {teachers}" if teachers else ""
                panels.append(Panel(task, taught[0].metric, name, caption, series, joined=False))
                break
    return tuple(panels)


def left_out(judged: Sequence[Judged]) -> tuple[str, ...]:
    """Tasks without a picture by size, and why."""
    notes = []
    for task in dict.fromkeys(each.task for each in judged):
        found = [each for each in judged if each.task == task]
        unsized = [each.model.name for each in found if not each.model.parameters]
        if unsized:
            notes.append(f"{task}: the size of {', '.join(unsized)} is unknown, so the picture leaves it out")
        sized = [each for each in found if each.model.parameters and each.scores]
        if len({part for each in sized for part in each.scores}) > COLOURS and not _shared(sized):
            notes.append(
                f"{task}: no language was measured with all models, so there is no mean to draw by size"
            )
    return tuple(notes)


def _by_language(
    task: str,
    judged: Sequence[Judged],
    parts: Sequence[Part],
    models: Sequence[Model],
    across: str,
    known: Mapping[Model, float],
) -> Panel:
    series = []
    for part in parts:
        dots = []
        for each in judged:
            score = each.scores.get(part)
            if score is not None:
                label = str(models.index(each.model) + 1)
                hint = f"{each.model.name}: {score.value:.4f} ({score.low:.4f} to {score.high:.4f})"
                dots.append(Dot(float(known[each.model]), score.value, score.low, score.high, label, hint))
        series.append(Dots(part_name(part.language, part.subset), tuple(dots)))
    return Panel(task, judged[0].metric, across, "95 % intervals", tuple(series), joined=True)


def _means(
    task: str,
    judged: Sequence[Judged],
    shared: Sequence[Part],
    models: Sequence[Model],
    across: str,
    known: Mapping[Model, float],
) -> Panel:
    dots = []
    languages = 0
    for each in judged:
        value, languages = mean_over_languages({part: each.scores[part].value for part in shared})
        low, high = (
            mean_over_languages({part: getattr(each.scores[part], end) for part in shared})[0]
            for end in ("low", "high")
        )
        label = str(models.index(each.model) + 1)
        hint = f"{each.model.name}: {value:.4f} ({low:.4f} to {high:.4f})"
        dots.append(Dot(float(known[each.model]), value, low, high, label, hint))
    others = len({part.language for each in judged for part in each.scores}) - languages
    caption = f"mean over {languages} languages" + (
        f"; {others} more were not measured with all models" if others else ""
    )
    return Panel(task, judged[0].metric, across, caption, (Dots(caption, tuple(dots)),), joined=False)


def _shared(judged: Sequence[Judged]) -> list[Part]:
    """Parts that all models have."""
    sets = [set(each.scores) for each in judged]
    return sorted(set.intersection(*sets)) if sets else []


def _loyal(one: Judged, measure: str, name: str, models: Sequence[Model]) -> Dots:
    dots = []
    is_named = len(one.scores) <= _NAMED
    for part, score in sorted(one.scores.items()):
        loyalty = one.loyalty.get(str(part), {}).get(measure)
        if loyalty is not None:
            label = part.language.partition("-")[0][:4] if is_named else ""
            hint = f"{part_name(part.language, part.subset)}: {score.value:.4f}, {name} {loyalty:.4f}"
            dots.append(Dot(loyalty, score.value, score.low, score.high, label, f"{one.model.name}, {hint}"))
    return Dots(f"{models.index(one.model) + 1}: {one.model.name}", tuple(dots))


def correlation(panel: Panel) -> float | None:
    """Pearson's, over all points of a picture; None for fewer than three or where one side does not vary."""
    points = np.array([(dot.x, dot.y) for each in panel.series for dot in each.dots])
    if len(points) < 3 or not np.ptp(points, axis=0).all():
        return None
    return float(np.corrcoef(points.T)[0, 1])
