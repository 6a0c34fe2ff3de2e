"""What a run has to do: which stages are finished, and why others are not."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from polycompress.errors import InputError
from polycompress.modeldir.sources import resolve_model
from polycompress.pipelines.recipes.directory import RUN, RunDirectory, read_note
from polycompress.pipelines.recipes.fingerprints import Fingerprints, Identity, changes, key_of
from polycompress.pipelines.recipes.reading import Findings
from polycompress.pipelines.recipes.sizes import Extent, extent_of, model_of, output_of
from polycompress.pipelines.recipes.stages import Recipe, Source, Stage
from polycompress.training.errors import ConfigError
from polycompress.training.run_files import FINAL

State = Literal["finished", "goes on", "to do"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """One stage, and what is to be done about it."""

    stage: Stage
    identity: Identity
    key: str
    state: State
    why: str
    """Empty where it is finished."""
    bytes: int | None
    """Of its output, where it is there."""
    at_most: int | None
    """Of an output to come, where that is known."""
    seconds: float | None
    """Expected, after what was measured in this run; None: unknown."""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "number": self.stage.number,
            **self.stage.settled(),
            "key": self.key,
            "state": self.state,
            "why": self.why or None,
            "bytes": self.bytes,
            "at_most_bytes": self.at_most,
            "expected_seconds": self.seconds,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A recipe, and what of it is to be done."""

    recipe: Recipe
    out: Path
    stages: tuple[Planned, ...]
    used_bytes: int
    """By what the run's directory holds."""
    free_bytes: int
    """On its disk."""

    @property
    def left(self) -> tuple[Planned, ...]:
        """What is to do."""
        return tuple(each for each in self.stages if each.state != "finished")

    @property
    def at_most(self) -> int:
        """Bytes that stages to do will leave, of those of which that is known."""
        return sum(each.at_most or 0 for each in self.left)

    @property
    def seconds(self) -> float:
        """That stages to do are expected to take, of those of which that is known."""
        return sum(each.seconds or 0.0 for each in self.left)

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "name": self.recipe.name,
            "model": self.recipe.model,
            "out": str(self.out),
            "stages": [stage.as_dict() for stage in self.stages],
            "used_bytes": self.used_bytes,
            "free_bytes": self.free_bytes,
            "at_most_bytes": self.at_most,
            "expected_seconds": self.seconds,
            "unknown": {
                "bytes": [each.stage.name for each in self.left if each.at_most is None],
                "seconds": [each.stage.name for each in self.left if each.seconds is None],
            },
        }


def make_plan(findings: Findings, run: RunDirectory) -> Plan:
    """Look at the models and files that stages read, and at what the run's directory holds.

    Raises:
        ConfigError: The recipe is wrong, or names what is not there; every fault is named.
        InputError: A record in the directory is damaged.
    """
    findings.report()
    recipe = findings.recipe
    prints, sizes = Fingerprints(recipe), _Sizes(run, recipe.model)
    history = read_note(run.root / RUN).get("stages", {})
    planned: list[Planned] = []
    keys: dict[str, str] = {}
    for stage in recipe.stages:
        try:
            identity = prints.identity(stage, keys)
        except ConfigError as error:
            for fault in error.faults:
                stage.table.fault(f"do: {error.subject}: {fault}")
            keys[stage.name] = ""
            continue
        except InputError as error:
            stage.table.fault(f"do: {error}")
            keys[stage.name] = ""
            continue
        keys[stage.name] = key_of(identity)
        planned.append(_planned(stage, identity, keys[stage.name], run, sizes, history))
    findings.report()
    return Plan(
        recipe=recipe,
        out=run.root,
        stages=tuple(planned),
        used_bytes=tree_bytes(run.root) if run.root.is_dir() else 0,
        free_bytes=_free(run.root),
    )


def tree_bytes(path: Path) -> int:
    """Bytes of all files below a directory."""
    return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())


class _Sizes:
    """Of models, stage by stage: of those that are there, and of those to come."""

    def __init__(self, run: RunDirectory, model: str) -> None:
        self._run = run
        self._model = model
        self._stages: dict[str, Extent | None] = {}
        self._others: dict[str, Extent | None] = {}

    def add(self, stage: Stage, *, is_there: bool) -> int | None:
        """Bytes that a stage will leave at most; None: not known. Those before it have been added."""
        source = self._of(stage.sources[0]) if stage.kind.makes_model else None
        teacher = stage.models.get("teacher")
        student = stage.models.get("student")
        model = model_of(stage, source if student is None else self._of(student))
        if is_there and stage.kind.makes_model:
            place = self._run.output(stage)
            model = extent_of(place / FINAL if stage.kind.leaves == "run" else place)
        self._stages[stage.name] = model
        return output_of(stage, source, model, None if teacher is None else self._of(teacher))

    def _of(self, source: Source) -> Extent | None:
        if source.is_stage:
            return self._stages.get(source.name)
        name = self._model if source.name == "model" else source.name
        if name not in self._others:
            self._others[name] = extent_of(resolve_model(name).path)
        return self._others[name]


def _planned(
    stage: Stage,
    identity: Identity,
    key: str,
    run: RunDirectory,
    sizes: _Sizes,
    history: Mapping[str, Any],
) -> Planned:
    state, why = _state(stage, identity, key, run)
    output = run.output(stage)
    is_finished = state == "finished"
    at_most = sizes.add(stage, is_there=is_finished)
    return Planned(
        stage=stage,
        identity=identity,
        key=key,
        state=state,
        why=why,
        bytes=tree_bytes(output) if is_finished and output.is_dir() else None,
        at_most=None if is_finished else at_most,
        seconds=None if is_finished else _expected(stage, identity, read_note(run.record(stage)), history),
    )


def _state(stage: Stage, identity: Identity, key: str, run: RunDirectory) -> tuple[State, str]:
    record = read_note(run.record(stage))
    is_there = not stage.has_output or run.output(stage).is_dir()
    if record.get("key") == key and is_there:
        return "finished", ""
    if read_note(run.note(stage)).get("key") == key:
        return ("goes on" if stage.kind.leaves == "run" else "to do"), "it was begun and did not end"
    if not record:
        return "to do", "not run yet"
    if record.get("key") == key:
        return "to do", "its output is gone"
    return "to do", changes(record.get("identity"), identity)


def _expected(
    stage: Stage, identity: Identity, record: Mapping[str, Any], history: Mapping[str, Any]
) -> float | None:
    """What the stage took before with the same options; of one that trains, by the steps of any like it."""
    own, steps = history.get(stage.name), stage.options.get("steps")
    same = _dict(record.get("identity")).get("options") == identity["options"]
    if same and isinstance(own, Mapping) and isinstance(own.get("seconds"), int | float):
        return float(own["seconds"])
    if not isinstance(steps, int):
        return None
    for each in (own, *history.values()):
        known = _dict(each)
        if known.get("do") != stage.command.name:
            continue
        seconds, training, done = (known.get(name) for name in ("seconds", "training_seconds", "steps"))
        if isinstance(seconds, int | float) and isinstance(training, int | float) and done:
            return float(seconds - training + training * steps / done)
    return None


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _free(path: Path) -> int:
    there = next(place for place in (path, *path.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free
