"""A whole recipe: commands one after another, each fed by those before it, taken up where they were interrupted."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycompress.errors import InputError
from polycompress.pipelines.recipes.commands import Commands
from polycompress.pipelines.recipes.directory import RunDirectory
from polycompress.pipelines.recipes.finding import find_recipe
from polycompress.pipelines.recipes.planning import Plan, make_plan
from polycompress.pipelines.recipes.reading import read_recipe
from polycompress.pipelines.recipes.running import Done, Tell, run_stages

logger = logging.getLogger(__name__)

RUNS = "runs"
"""Where runs go that no other place is named for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """A finished run, or of a dry run the plan alone."""

    plan: Plan
    stages: tuple[Done, ...] | None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        if self.stages is None:
            return self.plan.as_dict()
        return {
            "name": self.plan.recipe.name,
            "model": self.plan.recipe.model,
            "out": str(self.plan.out),
            "stages": [stage.as_dict() for stage in self.stages],
        }


def run_recipe(
    recipe: str | os.PathLike[str],
    commands: Commands,
    *,
    out: str | os.PathLike[str] | None = None,
    settings: Sequence[str] = (),
    dry_run: bool = False,
    tell: Tell | None = None,
) -> RunResult:
    """Carry out a recipe. Stages whose key is known are finished; the others run, in this process.

    Args:
        recipe: A YAML file, or the name of a recipe of ``eval/recipes/``.
        commands: What commands there are.
        out: The run's directory: ``recipe.yaml``, as it was settled; ``run.json``, which alone holds times and the
            machine; ``stages/1-NAME/``, a stage's output as its command writes it, times and snapshots taken out, and
            ``stages/1-NAME.json``, its key and result. None: ``runs/NAME``.
        settings: ``FIELD=VALUE``, over what the file says.
        dry_run: Plan and stop; nothing is written.
        tell: Told of each stage that begins or ends.

    Raises:
        ConfigError: The recipe is wrong; every fault is named with its line.
        InputError: It cannot be read, or another process is at work in the directory, or that is not for it.
        StageError: A stage failed; the same call goes on.
    """
    findings = read_recipe(find_recipe(os.fspath(recipe)), commands, settings)
    findings.report()
    run = RunDirectory(Path(RUNS) / findings.recipe.name if out is None else Path(out))
    run.check(findings.recipe.name)
    plan = make_plan(findings, run.unadopted(findings.recipe.stages))
    if dry_run:
        return RunResult(plan=plan, stages=None)
    if any(each.is_relative_to(run.root.absolute()) for each in _models(findings.recipe.model)):
        raise InputError(f"{run.root}: holds the recipe's model. Choose another --out.")
    with run.locked():
        run.adopt(findings.recipe.stages)
        plan = make_plan(findings, run)  # what another process did in the meantime is finished
        run.lay_out(plan.recipe.settled())
        return RunResult(plan=plan, stages=tuple(run_stages(plan, run, tell)))


def _models(model: str) -> list[Path]:
    """The directory of a model that is one."""
    return [Path(model)] if Path(model).is_absolute() else []
