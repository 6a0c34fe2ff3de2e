"""A result as a Markdown table: a row for each language, its interval, and what stands beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.languages import find_language
from polycompress.modeldir.figures import join
from polycompress.modeldir.markdown import code, escape, table

GAP: Final = "-"
"""What stands where nothing was measured."""
_GROUPS: Final = (("family", "Family"), ("script", "Script"), ("resource", "Resources"))


@dataclass(frozen=True, slots=True)
class Grid:
    """A table before it is drawn: plain text."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def score_grid(result: Mapping[str, Any]) -> Grid:
    """The languages' table.

    Args:
        result: As ``evaluate`` gives it, or ``read_result``.

    Returns:
        Languages asked for that were not measured have rows too, with dashes.
    """
    columns = _columns(result)
    rows = [
        (part_name(row["language"], row["subset"]), *(write(row) for _, write in columns))
        for row in result["scores"]
    ]
    gaps = [
        (part_name(*_split(name)), *[GAP] * len(columns)) for name in result["averages"].get("missing", ())
    ]
    return Grid(("Language", *(name for name, _ in columns)), (*rows, *gaps))


def average_grid(result: Mapping[str, Any]) -> Grid:
    """The averages' table: over all languages, without those trained on, by family, script and resources."""
    averages = result["averages"]
    rows = [("all languages", *_average(averages.get("all")))]
    if averages.get("zero-shot") is not None:
        rows.append(("languages not trained on", *_average(averages["zero-shot"])))
    for key, title in _GROUPS:
        groups = averages.get(key)
        rows += [
            (f"{title}: {name}", *_average(value))
            for name, value in sorted((groups if isinstance(groups, Mapping) else {}).items())
        ]
    return Grid(("Average over", str(result["metric"]), "Languages"), tuple(rows))


def result_markdown(result: Mapping[str, Any]) -> str:
    """The whole page."""
    model = result["model"]
    lines = [f"# {escape(model.get('name'))} on {escape(result['task'])}", "", _summary(result), ""]
    lines += [_drawn(score_grid(result)), "", _drawn(average_grid(result)), ""]
    missing = result["averages"].get("missing") or ()
    if missing:
        lines += [f"Not measured, and in no average: {escape(', '.join(map(str, missing)))}.", ""]
    lines += [f"- {escape(note)}" for note in result.get("notes") or ()]
    lines += [
        f"- {escape(each['model'])}: {escape(each['protocol'])} ({escape(each['source'])})"
        for each in result.get("published") or ()
    ]
    baseline = result.get("baseline")
    if baseline:
        lines.append(f"- Bag of words: {escape(baseline['method'])}. {escape(baseline['note'])}")
    command = result.get("command")
    if command:
        lines += ["", f"Made by {code(' '.join(map(str, command)))} on {escape(result.get('date'))}."]
    return "\n".join(lines).rstrip() + "\n"


def part_name(language: str, subset: str | None) -> str:
    """``German (deu-Latn)``, with the test set's name where a language has several."""
    try:
        name = f"{find_language(language).name} ({language})"
    except InputError:
        name = language
    return name if subset is None else f"{name}, {subset}"


def _columns(result: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Titles, and what writes a row's cell."""
    metric, rows = str(result["metric"]), result["scores"]
    columns: list[tuple[str, Any]] = [
        ("Examples", lambda row: f"{row['examples']:,}"),
        (metric, lambda row: f"{row['score']:.3f}"),
        ("95 % interval", lambda row: f"{row['low']:.3f} to {row['high']:.3f}"),
    ]
    if len(result["seeds"]) > 1:
        columns.append(("Spread over seeds", lambda row: _figure(row.get("spread"))))
    for name in dict.fromkeys(name for row in rows for name in row["details"]):
        columns.append((name, lambda row, name=name: _figure(row["details"].get(name))))
    for each in result.get("published") or ():
        scores = each["scores"]
        columns.append(
            (f"{each['model']} (published)", lambda row, scores=scores: _figure(scores.get(_key(row))))
        )
    baseline = result.get("baseline")
    for name in (baseline or {}).get("columns", ()):
        scores = baseline["scores"][name]
        columns.append(
            (f"bag of words, {name}", lambda row, scores=scores: _figure(scores.get(_key(row))))
        )
    loyalty = result.get("loyalty")
    if loyalty:
        for name in dict.fromkeys(name for each in loyalty["scores"].values() for name in each):
            columns.append(
                (
                    f"{name} loyalty" if name != "cka" else "CKA with the teacher",
                    lambda row, name=name: _figure(loyalty["scores"].get(_key(row), {}).get(name)),
                )
            )
    return columns


def _summary(result: Mapping[str, Any]) -> str:
    parts = [f"{escape(result['metric'])} on the {escape(result['split'])} split"]
    seeds: Sequence[Any] = result["seeds"]
    if len(seeds) > 1:
        over = result.get("over_seeds") or {}
        parts.append(
            f"mean of {len(seeds)} seeds ({join([str(seed) for seed in seeds])}), spread {_figure(over.get('spread'))}, "
            f"{over.get('collapsed', 0):.0%} of them collapsed"
        )
    trained = result["model"].get("trained_on")
    if trained:
        parts.append(f"trained on {escape(join([str(each) for each in trained]))}")
    if result.get("loyalty"):
        parts.append(f"loyalty to {escape(result['loyalty']['teacher'])}")
    return "; ".join(parts) + "."


def _average(value: Any) -> tuple[str, str]:
    if isinstance(value, Mapping):
        return _figure(value.get("score")), str(value.get("languages", GAP))
    return _figure(value), GAP


def _figure(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) and not isinstance(value, bool) else GAP


def _key(row: Mapping[str, Any]) -> str:
    return row["language"] if row["subset"] is None else f"{row['language']}/{row['subset']}"


def _split(name: str) -> tuple[str, str | None]:
    language, slash, subset = str(name).partition("/")
    return language, subset if slash else None


def _drawn(grid: Grid) -> str:
    return table([escape(each) for each in grid.head], [[escape(cell) for cell in row] for row in grid.rows])
