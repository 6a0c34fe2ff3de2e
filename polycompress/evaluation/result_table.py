"""A result as tables: a row for each language with its interval and what stands beside it, and the averages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.evaluation.records import Part
from polycompress.languages import find_language
from polycompress.modeldir.figures import join
from polycompress.modeldir.markdown import code, escape, table

GAP: Final = "-"
"""What stands where nothing was measured."""
_GROUPS: Final = (("family", "family"), ("script", "script"), ("resource", "resources"))
_TITLES: Final = {
    "label": "label loyalty",
    "probability": "probability loyalty",
    "cka": "CKA with the teacher",
}

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table before it is drawn: plain text."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def score_grid(result: Mapping[str, Any], *, details: bool = True) -> Grid:
    """The languages' table.

    Args:
        result: As ``evaluate`` gives it, or ``read_result``.
        details: Also with the metric's further numbers.

    Returns:
        Languages asked for that were not measured have rows too, with dashes.
    """
    columns = _columns(result, details=details)
    rows = [
        (part_name(row["language"], row["subset"]), *(write(row) for _, write in columns))
        for row in result["scores"]
    ]
    gaps = [
        (part_name(*_split(name)), *[GAP] * len(columns)) for name in result["averages"].get("missing", ())
    ]
    return Grid(("language", *(name for name, _ in columns)), (*rows, *gaps))


def average_grid(result: Mapping[str, Any]) -> Grid:
    """The averages' table: over all languages, without those trained on, by family, script and resources."""
    averages = result["averages"]
    rows = [_average("all languages", averages.get("all"))]
    if result["model"].get("trained_on"):
        rows.append(_average("not trained on", averages.get("zero-shot")))
    for key, title in _GROUPS:
        groups = averages.get(key)
        for name, value in sorted((groups if isinstance(groups, Mapping) else {}).items()):
            rows.append(_average(f"{title}: {name}", value))
    return Grid(("average over", "score", "languages", "missing"), tuple(rows))


def suite_grid(results: Sequence[Mapping[str, Any]]) -> Grid:
    """Averages of several tasks, a row each."""
    rows = []
    for result in results:
        whole = _average("", result["averages"].get("all"))
        away = _average("", result["averages"].get("zero-shot"))
        tuned = bool(result["model"].get("trained_on"))
        rows.append((str(result["task"]), str(result["metric"]), *whole[1:], away[1] if tuned else GAP))
    return Grid(("task", "metric", "mean", "languages", "missing", "zero-shot"), tuple(rows))


def result_markdown(result: Mapping[str, Any]) -> str:
    """The whole page."""
    blocks = [f"# {escape(title(result))}", f"{escape(summary(result))}.", _drawn(score_grid(result))]
    missing = result["averages"].get("missing") or ()
    if missing:
        blocks.append(f"Not measured, and in no average: {escape(', '.join(map(str, missing)))}.")
    blocks.append(_drawn(average_grid(result)))
    notes = [*map(str, result.get("notes") or ()), *_sources(result)]
    if notes:
        blocks.append("\n".join(f"- {escape(note)}" for note in notes))
    command = result.get("command")
    if command:
        blocks.append(f"Made by {code(' '.join(map(str, command)))} on {escape(result.get('date'))}.")
    return "\n\n".join(blocks) + "\n"


def title(result: Mapping[str, Any]) -> str:
    """Which model, on what."""
    return f"{result['model'].get('name') or 'a model'} on {result['task']}"


def summary(result: Mapping[str, Any]) -> str:
    """What was measured, in one line."""
    parts = [f"{result['metric']} on the {result['split']} split"]
    if result["settings"].get("limit") is not None:
        parts[0] += f", first {result['settings']['limit']} examples of each language"
    trained = result["model"].get("trained_on")
    if trained:
        parts.append(f"tuned in {join([str(each) for each in trained])}")
    seeds: Sequence[Any] = result["seeds"]
    over = result.get("over_seeds")
    if len(seeds) > 1 and over:
        collapsed = over.get("collapsed")
        parts.append(
            f"mean of seeds {join([str(seed) for seed in seeds])}, spread {_figure(over.get('spread'))}, "
            f"{'unknown how many' if collapsed is None else round(collapsed * len(seeds))} of them collapsed"
        )
    if result.get("loyalty"):
        parts.append(f"loyalty to {result['loyalty']['teacher']}")
    return "; ".join(parts)


def _sources(result: Mapping[str, Any]) -> list[str]:
    """Where what stands beside the scores comes from."""
    found = [
        f"{each['model']}, published: {_published_average(each)}{each['protocol']} ({each['source']})"
        for each in result.get("published") or ()
    ]
    baseline = result.get("baseline")
    return [*found, f"bag of words: {baseline['method']}"] if baseline else found


def _published_average(entry: Mapping[str, Any]) -> str:
    if entry.get("average") is None:
        return ""
    return f"{_figure(entry['average'])} over {entry.get('average_over') or 'some'} languages; "


def part_name(language: str, subset: str | None) -> str:
    """``German (deu-Latn)``, with the test set's name where a language has several."""
    try:
        name = f"{find_language(language).name} ({language})"
    except InputError:
        name = language
    return name if subset is None else f"{name}, {subset}"


def _columns(result: Mapping[str, Any], *, details: bool) -> list[tuple[str, Callable[[Row], str]]]:
    """Titles, and what writes a row's cell."""
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("examples", lambda row: f"{row['examples']:,}"),
        ("score", lambda row: _figure(row["score"])),
        ("95 % interval", lambda row: f"{_figure(row['low'])}-{_figure(row['high'])}"),
    ]
    if len(result["seeds"]) > 1:
        columns.append(("spread over seeds", lambda row: _figure(row.get("spread"))))
    for name in dict.fromkeys(name for row in result["scores"] if details for name in row["details"]):
        columns.append((name, _picked("details", name)))
    for each in result.get("published") or ():
        if each["scores"]:  # of some only the average is known
            columns.append((f"{each['model']}, published", _looked_up(each["scores"])))
    baseline = result.get("baseline") or {"scores": {}}
    for name, scores in baseline["scores"].items():
        columns.append((f"bag of words, {name}", _looked_up(scores)))
    loyalty = result.get("loyalty") or {"scores": {}}
    for name in dict.fromkeys(name for each in loyalty["scores"].values() for name in each):
        scores = {key: each.get(name) for key, each in loyalty["scores"].items()}
        columns.append((_TITLES.get(name, name), _looked_up(scores)))
    return columns


def _picked(field: str, name: str) -> Callable[[Row], str]:
    return lambda row: _figure(row[field].get(name))


def _looked_up(scores: Mapping[str, Any]) -> Callable[[Row], str]:
    return lambda row: _figure(scores.get(_key(row)))


def _average(name: str, value: Any) -> tuple[str, str, str, str]:
    group = value if isinstance(value, Mapping) else {}
    missing = group.get("missing") or ()
    return name, _figure(group.get("mean")), str(group.get("languages", GAP)), str(len(missing) or "")


def _figure(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) and not isinstance(value, bool) else GAP


def _key(row: Row) -> str:
    return str(Part(row["language"], row["subset"]))


def _split(name: str) -> tuple[str, str | None]:
    language, slash, subset = str(name).partition("/")
    return language, subset if slash else None


def _drawn(grid: Grid) -> str:
    """Names come from files; the other cells are numbers that were written here."""
    return table([escape(each) for each in grid.head], [[escape(row[0]), *row[1:]] for row in grid.rows])
