"""The results in a directory: what `eval` and `bench` wrote, read and put together by task and model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.evaluation.records import Part
from polycompress.evaluation.results import KIND, MAX_RESULT_BYTES, number, read_result
from polycompress.evaluation.speed_table import BENCH_KIND, SpeedTable, speed_tables
from polycompress.modeldir.paths import load_json, safe_file
from polycompress.report.speeds import Speed, read_speed

MAX_FILES: Final = 10_000
"""JSON files looked at; more is another kind of directory."""
WANTED: Final = (
    "Give a run of a recipe (with recipe.yaml and stages/, as `polycompress run` makes it), a training run (with "
    "config.json and metrics.jsonl), or a directory that `polycompress eval --out` or `bench --out` wrote results into."
)
"""What a page can be made of."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that was judged."""

    name: str
    path: str
    manifest: str | None
    """SHA-256 of its manifest, where it has one."""
    parameters: int | None
    embedding: int | None
    bytes: int | None
    trained_on: str
    """Languages, as text; empty where the file does not say."""


@dataclass(frozen=True, slots=True)
class Score:
    """Of one part of a task."""

    part: Part
    value: float
    low: float
    high: float
    examples: int
    seeds: int
    spread: float | None
    """Standard deviation over seeds."""


@dataclass(slots=True)
class Judged:
    """What one model got on one task, from one file or several."""

    task: str
    """With the split, where it is not the test set."""
    metric: str
    model: Model
    scores: dict[Part, Score] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    """Parts that were asked for and not measured, as text."""
    loyalty: dict[str, dict[str, float]] = field(default_factory=dict)
    """By part as text, then by measure."""
    teacher: str = ""
    references: dict[str, dict[str, float]] = field(default_factory=dict)
    """Published scores and baselines: by name, then by part as text."""
    notes: dict[str, None] = field(default_factory=dict)
    """In order, each once."""


@dataclass(frozen=True, slots=True)
class Results:
    """Everything found in a directory."""

    judged: tuple[Judged, ...]
    speed: tuple[tuple[str, tuple[SpeedTable, ...]], ...]
    """Of each file of a benchmark its name and its tables."""
    rates: tuple[Speed, ...] = ()
    """Of each of these files that timed something."""
    versions: tuple[Mapping[str, Any], ...] = ()
    """``versions`` of each file that has them."""


def read_results(root: Path) -> Results:
    """Read all results in a directory and below; runs and models in it are not entered.

    Raises:
        InputError: There is none, one is damaged, or two say different things of the same.
    """
    found = _Collected()
    for path in _json_files(root):
        found.add(path, path.relative_to(root).as_posix())
    if not found.judged and not found.speed:
        raise InputError(
            f"{root}: holds neither a run of a recipe, nor a training run (there is no config.json), nor results. "
            f"{WANTED}"
        )
    return found.results()


def gather_results(folders: Mapping[str, Path]) -> tuple[Results, tuple[str, ...]]:
    """Read the results of several directories, each with a name for its benchmarks.

    Returns:
        What could be read, and what is wrong with the rest.
    """
    found = _Collected()
    faults = []
    for name, folder in folders.items():
        try:
            for path in _json_files(folder):
                try:
                    found.add(path, name)
                except InputError as error:
                    faults.append(str(error))
        except InputError as error:
            faults.append(str(error))
    return found.results(), tuple(faults)


@dataclass(slots=True)
class _Collected:
    """What was read so far."""

    judged: dict[tuple[str, Model], Judged] = field(default_factory=dict)
    speed: list[tuple[str, tuple[SpeedTable, ...]]] = field(default_factory=list)
    rates: list[Speed] = field(default_factory=list)
    versions: list[Mapping[str, Any]] = field(default_factory=list)

    def add(self, path: Path, name: str) -> None:
        """Read one file, if it holds a result; one of a benchmark is shown with a name."""
        if path.stat().st_size > MAX_RESULT_BYTES:
            raise InputError(
                f"{path}: larger than {MAX_RESULT_BYTES >> 20} MiB. Take it out of the directory of results."
            )
        found = load_json(path.read_bytes(), path)
        kind = found.get("kind") if isinstance(found, dict) else None
        if kind == KIND:
            _add(self.judged, read_result(path), path)
        elif kind == BENCH_KIND and isinstance(found, dict):
            tables, rates = speed_tables(found, path), read_speed(found, path)
            self.speed.append((name, tables))
            self.rates += [] if rates is None else [rates]
        if kind in (KIND, BENCH_KIND) and isinstance(found, dict) and isinstance(found.get("versions"), dict):
            self.versions.append({"versions": found["versions"]})

    def results(self) -> Results:
        """All of it."""
        return Results(
            tuple(self.judged.values()), tuple(self.speed), tuple(self.rates), tuple(self.versions)
        )


def _json_files(root: Path) -> Iterator[Path]:
    seen = 0
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and not (Path(folder) / name / "config.json").exists()
        )
        for name in sorted(files):
            if not name.endswith(".json") or name.startswith("."):
                continue
            seen += 1
            if seen > MAX_FILES:
                raise InputError(
                    f"{root}: more than {MAX_FILES:,} JSON files. Is this a directory of results?"
                )
            yield safe_file(root, (Path(folder) / name).relative_to(root).as_posix())


def _add(judged: dict[tuple[str, Model], Judged], found: Mapping[str, Any], path: Path) -> None:
    split = found["split"]
    task = found["task"] if split == "test" else f"{found['task']} ({split})"
    model = _model(found["model"])
    one = judged.setdefault((task, model), Judged(task, found["metric"], model))
    if one.metric != found["metric"]:
        raise InputError(
            f"{path}: 'metric' is {found['metric']!r}, in another file of this task {one.metric!r}."
        )
    for index, row in enumerate(found["scores"]):
        score = _score(row, len(found["seeds"]))
        before = one.scores.setdefault(score.part, score)
        if before.value != score.value:
            raise InputError(
                f"{path}: scores[{index}]: {task} of '{model.name}' in {score.part} is {score.value:.4f} here and "
                f"{before.value:.4f} in another file of this directory. Take one of them away."
            )
    one.missing |= {str(each) for each in _list(found["averages"].get("missing"))}
    _add_loyalty(one, found.get("loyalty"))
    _add_references(one, found)
    limit = found["settings"].get("limit")
    if number(limit) is not None:
        one.notes[f"{task}: at most {limit} examples of each part were used"] = None
    over = found.get("over_seeds")
    collapsed = number(over.get("collapsed"), 0, 1) if isinstance(over, Mapping) else None
    if collapsed:
        one.notes[f"{task}: {collapsed:.0%} of the {len(found['seeds'])} seeds of {model.name} collapsed"] = (
            None
        )
    for note in _list(found.get("notes")):
        one.notes[f"{task}: {note}"] = None


def _model(found: Mapping[str, Any]) -> Model:
    parameters = found.get("parameters")
    sizes = parameters if isinstance(parameters, Mapping) else {}
    manifest = found.get("manifest_sha256")
    return Model(
        name=str(found.get("name") or "unknown"),
        path=str(found.get("path") or ""),
        manifest=manifest if isinstance(manifest, str) else None,
        parameters=_whole(sizes.get("total")),
        embedding=_whole(sizes.get("embedding")),
        bytes=_whole(found.get("bytes")),
        trained_on=", ".join(map(str, _list(found.get("trained_on")))),
    )


def _score(row: Mapping[str, Any], seeds: int) -> Score:
    part = Part(row["language"], row["subset"])
    value, low, high = (float(row[name]) for name in ("score", "low", "high"))
    return Score(part, value, low, high, row["examples"], seeds, number(row.get("spread")))


def _add_loyalty(one: Judged, found: object) -> None:
    if not isinstance(found, Mapping):
        return
    one.teacher = str(found.get("teacher") or "")
    scores = found.get("scores")
    for part, measures in (scores if isinstance(scores, Mapping) else {}).items():
        one.loyalty[str(part)] = _numbers(measures)


def _add_references(one: Judged, found: Mapping[str, Any]) -> None:
    for each in _list(found.get("published")):
        if isinstance(each, Mapping):
            name = f"{each.get('model')}, published ({each.get('source')})"
            one.references.setdefault(name, {}).update(_numbers(each.get("scores")))
    baseline = found.get("baseline")
    scores = baseline.get("scores") if isinstance(baseline, Mapping) else None
    for name, parts in (scores if isinstance(scores, Mapping) else {}).items():
        one.references.setdefault(f"bag of words, {name}", {}).update(_numbers(parts))


def _numbers(found: object) -> dict[str, float]:
    pairs = found.items() if isinstance(found, Mapping) else ()
    return {str(name): value for name, each in pairs if (value := number(each, -1.0, 1.0)) is not None}


def _whole(value: object) -> int | None:
    found = number(value, 0, 1e15)
    return None if found is None else int(found)


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
