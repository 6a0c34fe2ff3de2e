"""Carry a recipe out: make the models, then stage after stage, each a run of its own that goes on where it was left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from polycompress.modeldir.leftovers import remove
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.distilling.general_run import kept_of, size_of
from polycompress.pipelines.distilling.recipe_settings import seed_of
from polycompress.pipelines.distilling.recipe_stages import Stage
from polycompress.pipelines.distilling.stage_run import run_stage
from polycompress.pipelines.distilling.stages_asked import StagesRun
from polycompress.pipelines.distilling.stages_writing import Result, write_result
from polycompress.pipelines.distilling.student_files import write_student
from polycompress.pipelines.trim import trim
from polycompress.pipelines.tuning.parts import seeded
from polycompress.training.devices import Devices
from polycompress.training.run_files import FINAL, SNAPSHOTS
from polycompress.training.runs import begun_stages

STAGES: Final = "stages"
START: Final = "start"


def run_stages(run: StagesRun, identity: Mapping[str, Any], *, resume: bool) -> dict[str, Any]:
    """Carry all stages out, from the beginning or from where they were left; the manifest of the last student.

    Args:
        run: What is asked for.
        identity: What decides the result.
        resume: Whether the run may be there already.

    Raises:
        SnapshotMismatchError: The run that is there is of another recipe or model.
        PolycompressError: A stage ended before its time; see ``polycompress.training.loop.train``.
    """
    devices = Devices(device=run.recipe.stages[0].settings.device)
    with begun_stages(run.out, run.record, identity, devices, resume=resume):
        return _carry_out(run, identity, devices)


def _carry_out(run: StagesRun, identity: Mapping[str, Any], devices: Devices) -> dict[str, Any]:
    """All stages; the manifest of the last student."""
    out, stages = run.out, run.recipe.stages
    if devices.is_main:
        make_models(run)
    devices.wait()
    student = run.models.student.path if run.models.student is not None else out / START
    finished: list[tuple[Stage, Path]] = []
    for stage in stages:
        place = out / STAGES / stage.folder
        if not (place / FINAL).is_dir():
            run.say(f"stage {stage.number} of {len(stages)}, {stage.name}")
            with seeded(seed_of(stage.settings) * 1_000_003 + devices.rank):
                run_stage(run, stage, student, place)
        if devices.is_main and (place / SNAPSHOTS).is_dir():
            remove(place / SNAPSHOTS)
        devices.wait()
        finished.append((stage, place / FINAL))
        if stage.kind == "tune":
            run.tuned[stage.name] = place / FINAL
        else:
            student = place / FINAL
    if devices.is_main and not (out / FINAL).is_dir():
        facts = {
            **run.record,
            "source": run.models.teacher.record(),
            "config": dict(identity),
            **kept_of(run.teacher),
        }
        result = Result(
            name=run.recipe.name, student=student, stages=finished, before=size_of(run.models.teacher.path)
        )
        write_result(result, out / FINAL, facts)
    devices.wait()
    return read_manifest(out / FINAL) or {}


def make_models(run: StagesRun) -> None:
    """Write the trimmed teacher and the student as it begins, where an earlier run did not get to it.

    Raises:
        PolycompressError: One could not be made.
    """
    recipe, models, out = run.recipe, run.models, run.out
    command = list(run.record["command"])
    if recipe.student.trim and not run.teacher.is_dir():
        trim(
            models.teacher.path,
            langs=[language.code for language in recipe.languages],
            out=run.teacher,
            corpus=[f"{spec.language.code}={spec.pattern}" for spec in recipe.corpora],
            field=recipe.reading.field,
            min_share=recipe.student.min_share,
            frequencies=False,
            progress=run.tell,
            command=command,
        )
    if models.student is None and not (out / START).is_dir():
        write_student(run.teacher, models.layer_map, out / START, {"command": command})
