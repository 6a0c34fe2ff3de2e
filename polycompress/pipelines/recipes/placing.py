"""Where a stage's models lie and where its output goes, as its command is told; all from the run's directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.pipelines.recipes.commands import Value, typed
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
    arguments = models
    told: dict[str, Value] = {}
    if stage.kind.takes == "models":
        parameters[command.arguments[0].parameter] = models
    elif stage.kind.takes == "results":
        arguments, told = (models[:1], {}) if stage.is_of_run else ([str(run.root)], {"before": stage.name})
        parameters |= {command.arguments[0].parameter: Path(arguments[0]), **told}
    else:
        parameters |= dict(zip((each.parameter for each in command.arguments), models, strict=True))
    outputs: list[str] = []
    if stage.kind.leaves != "nothing":
        file = _FILES.get(stage.kind.leaves, "")
        parameters["out"] = work / file
        outputs = ["--out", str(place / file)]
    folded = stage.kind.leaves in (*_FILES, "results") or bool(stage.pictures)
    prepare = _folder(work) if folded else _nothing
    parameters |= {command.options[name].parameter: work / file for name, file in stage.pictures.items()}
    drawn = {name: str(place / file) for name, file in stage.pictures.items()}
    words = [*typed(command, arguments, {**named, **stage.options, **drawn, **told}), *outputs]
    return Call(parameters, tuple(words), work, place, prepare)


def _model_of(stage: Stage, run: RunDirectory, *, whole: bool) -> str:
    place = run.output(stage)
    return str(place / FINAL if stage.kind.leaves == "run" and not whole else place)


def _folder(path: Path) -> Callable[[], None]:
    def prepare() -> None:
        path.mkdir(parents=True, exist_ok=True)

    return prepare


def _nothing() -> None:
    """Nothing is needed."""
