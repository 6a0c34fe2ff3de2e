"""What a run has to do: which stages are finished, and why others are not."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from polycompress.errors import InputError
from polycompress.pipelines.recipes.directory import RUN, RunDirectory, read_note
from polycompress.pipelines.recipes.fingerprints import Fingerprints, Identity, changes, key_of
from polycompress.pipelines.recipes.reading import Findings
from polycompress.pipelines.recipes.stages import Recipe, Stage

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

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "name": self.recipe.name,
            "model": self.recipe.model,
            "out": str(self.out),
            "stages": [stage.as_dict() for stage in self.stages],
            "used_bytes": self.used_bytes,
            "free_bytes": self.free_bytes,
        }


def make_plan(findings: Findings, run: RunDirectory) -> Plan:
    """Look at the models and files that stages read, and at what the run's directory holds.

    Raises:
        ConfigError: The recipe is wrong, or names what is not there; every fault is named.
        InputError: A record in the directory is damaged.
    """
    findings.report()
    recipe = findings.recipe
    prints = Fingerprints(recipe)
    history = read_note(run.root / RUN).get("stages", {})
    planned: list[Planned] = []
    keys: dict[str, str] = {}
    for stage in recipe.stages:
        try:
            identity = prints.identity(stage, keys)
        except InputError as error:
            stage.table.fault(f"do: {error}")
            keys[stage.name] = ""
            continue
        keys[stage.name] = key_of(identity)
        planned.append(_planned(stage, identity, keys[stage.name], run, prints, planned, history))
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


def _planned(
    stage: Stage,
    identity: Identity,
    key: str,
    run: RunDirectory,
    prints: Fingerprints,
    before: Sequence[Planned],
    history: Mapping[str, Any],
) -> Planned:
    state, why = _state(stage, identity, key, run)
    output = run.output(stage)
    is_finished = state == "finished"
    return Planned(
        stage=stage,
        identity=identity,
        key=key,
        state=state,
        why=why,
        bytes=tree_bytes(output) if is_finished and output.is_dir() else None,
        at_most=None if is_finished else _at_most(stage, prints, before),
        seconds=None if is_finished else _expected(stage, identity, read_note(run.record(stage)), history),
    )


def _state(stage: Stage, identity: Identity, key: str, run: RunDirectory) -> tuple[State, str]:
    record = read_note(run.record(stage))
    has_output = stage.kind.leaves == "nothing" or run.output(stage).is_dir()
    if record.get("key") == key and has_output:
        return "finished", ""
    if read_note(run.note(stage)).get("key") == key:
        return ("goes on" if stage.kind.leaves == "run" else "to do"), "it was begun and did not end"
    if not record:
        return "to do", "not run yet"
    if record.get("key") == key:
        return "to do", "its output is gone"
    return "to do", changes(record.get("identity"), identity)


def _at_most(stage: Stage, prints: Fingerprints, before: Sequence[Planned]) -> int | None:
    """A trimmed model is smaller than its source."""
    if stage.command.name != "trim":
        return None
    source = stage.sources[0]
    if not source.is_stage:
        return prints.bytes_of(source)
    made = next(each for each in before if each.stage.name == source.name)
    return made.bytes or made.at_most


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
