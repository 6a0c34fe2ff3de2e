"""Where a stage's models lie and where its output goes, as its command is told; all from the run's directory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.modeldir.atomic import storage_error
from polycompress.pipelines.recipes.commands import typed
from polycompress.pipelines.recipes.directory import RunDirectory
from polycompress.pipelines.recipes.planning import Plan, Planned
from polycompress.pipelines.recipes.stages import Source, Stage
from polycompress.training.run_files import FINAL

_FILES: Final[Mapping[str, str]] = {"file": "bench.json", "page": "report.html"}
"""What is written into an output that is not the command's own."""


@dataclass(frozen=True, slots=True)
class Call:
    """How a command is called for a stage."""

    parameters: Mapping[str, Any]
    """Besides its options."""
    typed: tuple[str, ...]
    """The call as it is recorded: its output in its own place, whether it was resumed or not."""
    work: Path
    place: Path
    prepare: Callable[[], None]
    """Makes what the command needs to be there."""


def call_of(plan: Plan, planned: Planned, run: RunDirectory) -> Call:
    """The call of one stage.

    Args:
        plan: Of all stages.
        planned: Which.
        run: Its directory, as a path from the working directory.
    """
    stage = planned.stage
    work, place = run.work(stage), run.output(stage)
    command = stage.command
    by_name = {each.stage.name: each.stage for each in plan.stages}

    def path_of(source: Source) -> str:
        if not source.is_stage:
            return plan.recipe.model if source.name == "model" else source.name
        return _model_of(by_name[source.name], run, whole=stage.kind.takes_runs)

    models = [path_of(source) for source in stage.sources]
    named = {name: path_of(source) for name, source in stage.models.items()}
    parameters: dict[str, Any] = {command.options[name].parameter: path for name, path in named.items()}
    prepare = _nothing
    arguments = models
    if stage.kind.takes == "models":
        parameters[command.arguments[0].parameter] = models
    elif stage.kind.takes == "results":
        gathered, arguments, prepare = _gathered(plan, stage, by_name, work, place, models, run)
        parameters[command.arguments[0].parameter] = gathered
    else:
        parameters |= dict(zip((each.parameter for each in command.arguments), models, strict=True))
    outputs: list[str] = []
    if stage.kind.leaves != "nothing":
        file = _FILES.get(stage.kind.leaves, "")
        parameters["out"] = work / file
        outputs = ["--out", str(place / file)]
        if file and prepare is _nothing:
            prepare = _folder(work)
    if stage.kind.leaves == "results" or stage.pictures:
        prepare = _folder(work)
    parameters |= {command.options[name].parameter: work / file for name, file in stage.pictures.items()}
    drawn = {name: str(place / file) for name, file in stage.pictures.items()}
    words = [*typed(command, arguments, {**named, **stage.options, **drawn}), *outputs]
    return Call(parameters, tuple(words), work, place, prepare)


def _model_of(stage: Stage, run: RunDirectory, *, whole: bool) -> str:
    place = run.output(stage)
    return str(place / FINAL if stage.kind.leaves == "run" and not whole else place)


def _gathered(
    plan: Plan,
    stage: Stage,
    by_name: Mapping[str, Stage],
    work: Path,
    place: Path,
    models: list[str],
    run: RunDirectory,
) -> tuple[Path, list[str], Callable[[], None]]:
    """The directory that a report is made of: a run's, or copies of results, called as the recipe."""
    if stage.is_of_run:
        return Path(models[0]), models, _folder(work)
    name = plan.recipe.name

    def prepare() -> None:
        try:
            for source in stage.sources:
                measured = by_name[source.name]
                shutil.copytree(run.output(measured), work / name / measured.folder, dirs_exist_ok=True)
        except OSError as error:
            raise storage_error(error, work) from error

    return work / name, [str(place / name)], prepare


def _folder(path: Path) -> Callable[[], None]:
    def prepare() -> None:
        path.mkdir(parents=True, exist_ok=True)

    return prepare


def _nothing() -> None:
    """Nothing is needed."""
