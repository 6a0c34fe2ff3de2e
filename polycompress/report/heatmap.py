"""Scores by language and task as a table of colours: rows are languages, columns are models within tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from polycompress.evaluation.records import Part
from polycompress.evaluation.result_table import part_name
from polycompress.languages.finding import lookup_language
from polycompress.report.result_files import Judged, Model, Score

COLOURS: Final = (
    (0, 34, 78), (18, 53, 112), (59, 73, 108), (87, 93, 109), (112, 113, 115), (138, 134, 120), (165, 156, 116),
    (195, 179, 105), (225, 204, 85), (254, 232, 56),
)  # fmt: skip
"""cividis at ten places: dark blue to yellow, its lightness rising evenly, so that its order is seen in grey too."""
LIGHT: Final = 0.179
"""Luminance from which on black letters are read better than white ones."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One score as it is shown."""

    text: str
    hint: str
    """More about it, for whoever points at it."""
    paper: str
    """Colour behind the text; empty for a gap."""
    ink: str


@dataclass(frozen=True, slots=True)
class Column:
    """One model on one task, or a score of others beside it."""

    label: str
    """Number of the model, or letter of the reference."""
    name: str
    cells: tuple[Cell, ...]
    """As many as there are rows."""
    mean: str
    """Over languages, with their number in parentheses."""
    families: Mapping[str, str]
    """The same of each family of which there is a score."""


@dataclass(frozen=True, slots=True)
class Task:
    """The columns of one task."""

    name: str
    metric: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A language, or one of several parts of it."""

    name: str
    family: str


@dataclass(frozen=True, slots=True)
class HeatMap:
    """All of it."""

    rows: tuple[Row, ...]
    tasks: tuple[Task, ...]
    references: tuple[tuple[str, str], ...]
    """Letter and name of each."""


def heat_map(judged: Sequence[Judged], models: Sequence[Model]) -> HeatMap:
    """Lay out all scores.

    Within a task colours run from its lowest to its highest score, whichever model has it. What was not measured is a
    gap, and no mean counts it.

    Args:
        judged: What each model got on each task.
        models: In the order of their numbers, from 1 on.
    """
    parts = sorted(
        {part for each in judged for part in (*each.scores, *(_part(name) for name in each.missing))},
        key=_order,
    )
    letters = _letters(judged)
    tasks = tuple(
        _task([each for each in judged if each.task == name], parts, models, letters)
        for name in dict.fromkeys(each.task for each in judged)
    )
    rows = tuple(Row(part_name(part.language, part.subset), _family(part)) for part in parts)
    return HeatMap(rows, tasks, tuple((letter, name) for name, letter in letters.items()))


def colour(share: float) -> tuple[str, str]:
    """Colours for a place on the scale.

    Args:
        share: 0 to 1.

    Returns:
        Of the paper and of the ink, as CSS writes them.
    """
    place = min(max(share, 0.0), 1.0) * (len(COLOURS) - 1)
    index = min(int(place), len(COLOURS) - 2)
    low, high = np.array(COLOURS[index]), np.array(COLOURS[index + 1])
    mixed = [round(value) for value in (low + (place - index) * (high - low)).tolist()]
    ink = "#000" if luminance(mixed) > LIGHT else "#fff"
    return "#" + "".join(f"{value:02x}" for value in mixed), ink


def luminance(parts: Sequence[float]) -> float:
    """Relative luminance of an sRGB colour (0 to 255 each), as WCAG 2.1 defines it."""
    shares = [value / 255 for value in parts]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def mean_over_languages(scores: Mapping[Part, float]) -> tuple[float, int]:
    """The mean over languages, of a language with several parts over these first, and the number of languages."""
    by_language: dict[str, list[float]] = {}
    for part, value in scores.items():
        by_language.setdefault(part.language, []).append(value)
    return float(np.mean([np.mean(values) for values in by_language.values()])), len(by_language)


def _task(
    judged: Sequence[Judged],
    parts: Sequence[Part],
    models: Sequence[Model],
    letters: Mapping[str, str],
) -> Task:
    columns: list[tuple[str, str, dict[Part, float], dict[Part, str], set[str]]] = []
    for each in judged:
        values = {part: score.value for part, score in each.scores.items()}
        hints = {part: _hint(score) for part, score in each.scores.items()}
        columns.append((str(models.index(each.model) + 1), each.model.name, values, hints, each.missing))
    references: dict[str, dict[Part, float]] = {}
    for each in judged:
        for name, found in each.references.items():
            known = {part: found[str(part)] for part in each.scores if str(part) in found}
            references.setdefault(name, {}).update(known)
    columns += [(letters[name], name, values, {}, set()) for name, values in references.items() if values]
    every = [value for _, _, values, _, _ in columns for value in values.values()]
    low, high = (min(every), max(every)) if every else (0.0, 1.0)
    return Task(
        judged[0].task,
        judged[0].metric,
        tuple(
            Column(
                label,
                name,
                tuple(_cell(part, name, values, hints, missing, low, high) for part in parts),
                _mean(values),
                {family: _mean(values, family) for family in dict.fromkeys(map(_family, values))},
            )
            for label, name, values, hints, missing in columns
        ),
    )


def _mean(values: Mapping[Part, float], family: str | None = None) -> str:
    """Of all, or of one family."""
    inside = {part: value for part, value in values.items() if family is None or _family(part) == family}
    return "{:.3f} ({})".format(*mean_over_languages(inside)) if inside else ""


def _cell(
    part: Part,
    name: str,
    values: Mapping[Part, float],
    hints: Mapping[Part, str],
    missing: set[str],
    low: float,
    high: float,
) -> Cell:
    if part not in values:
        why = "asked for, but the task has no such part" if str(part) in missing else "not measured"
        return Cell("·", f"{name}, {part}: {why}", "", "")
    paper, ink = colour((values[part] - low) / (high - low) if high > low else 1.0)
    hint = f"{name}, {part}: {values[part]:.4f}{hints.get(part, '')}"
    return Cell(f"{values[part]:.3f}", hint, paper, ink)


def _hint(score: Score) -> str:
    seeds = ""
    if score.seeds > 1:
        spread = "" if score.spread is None else f", spread {score.spread:.4f}"
        seeds = f", {score.seeds} seeds{spread}"
    return f" (95 % interval {score.low:.4f} to {score.high:.4f}, {score.examples:,} examples{seeds})"


def _letters(judged: Sequence[Judged]) -> dict[str, str]:
    names = dict.fromkeys(name for each in judged for name in each.references)
    return {name: _letter(index) for index, name in enumerate(names)}


def _letter(index: int) -> str:
    """From a to z, then aa, ab and so on."""
    text = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        text = chr(ord("a") + rest) + text
    return text


def _part(text: str) -> Part:
    language, slash, subset = text.partition("/")
    return Part(language, subset if slash else None)


def _family(part: Part) -> str:
    language = lookup_language(part.language)
    return "" if language is None else language.family


def _order(part: Part) -> tuple[str, str, str]:
    """Languages of one family together; unknown ones last."""
    return _family(part) or "\U0010ffff", part_name(part.language, None), part.subset or ""
