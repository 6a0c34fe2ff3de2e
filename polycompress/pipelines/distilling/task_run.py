"""Tune the teacher, then the student sparsely with it: the half of BiStil's second phase that needs torch."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from polycompress.modeldir.leftovers import remove
from polycompress.pipelines.bistil_task import DIFF, TaskAsked, TaskConfig
from polycompress.pipelines.distilling.lottery import (
    SPARSE,
    SparseRun,
    Ticket,
    number_of_weights,
    tune_sparsely,
)
from polycompress.pipelines.distilling.task_parts import SparseMaker, Taught, base_names
from polycompress.pipelines.distilling.teaching import load_taught
from polycompress.pipelines.finetune import finetune, prepare
from polycompress.pipelines.sft import diff_models
from polycompress.pipelines.tuning.inputs import FinetuneInputs, identity_of
from polycompress.pipelines.tuning.parts import load_headed
from polycompress.pipelines.tuning.source_model import SourceModel, find_source_model
from polycompress.pipelines.tuning.writing import write_tuned
from polycompress.training.devices import Devices
from polycompress.training.metrics import Record
from polycompress.training.run_files import FINAL, SNAPSHOTS
from polycompress.training.runs import begun_stages

Tell = Callable[[str, int, int | None], None]
TEACHER: Final = "teacher"


def run_task(
    asked: TaskAsked,
    out: Path,
    *,
    record: Mapping[str, Any],
    identity: Mapping[str, Any],
    resume: bool,
    progress: Callable[[Record], None] | None,
    tell: Tell | None,
) -> dict[str, Any]:
    """Both models' trainings, each from the beginning or from where it was left; the manifest of the student.

    Raises:
        PolycompressError: See ``bistil_task``.
    """
    devices = Devices(device=asked.config.tuning.device)
    with begun_stages(out, record, identity, devices, resume=resume):
        return _train_both(asked, out, devices, record, identity, progress, tell)


def _train_both(
    asked: TaskAsked,
    out: Path,
    devices: Devices,
    record: Mapping[str, Any],
    identity: Mapping[str, Any],
    progress: Callable[[Record], None] | None,
    tell: Tell | None,
) -> dict[str, Any]:
    """The teacher where it has to be, and the student; the student's manifest."""
    config, request = asked.config, asked.request
    inputs, first, plan = prepare(asked.student, request, config.tuning.seed, tell)
    number_of_weights(
        first.model, config.density, freeze_norms=config.freeze_norms
    )  # before anything is trained
    del first
    teacher = asked.teacher
    if not asked.knows_the_task:
        teacher = _tuned_teacher(asked, out, devices, record, progress, tell)
    devices = Devices(precision=inputs.ready.precision, device=config.tuning.device)
    run = SparseRun(
        inputs=inputs,
        load=functools.partial(load_headed, asked.student, request.task, config.tuning.seed),
        config=dataclasses.replace(config.tuning, steps=plan.steps, epochs=None),
        plan=plan,
        devices=devices,
        maker=_maker(config, _taught(asked, teacher, inputs, devices)),
        density=config.density,
        record=record,
        identity={**identity, "examples": identity_of(inputs, config.tuning, plan)},
        progress=progress,
        tell=tell,
    )
    return _carry_out(run, asked.student, out)


def _tuned_teacher(
    asked: TaskAsked,
    out: Path,
    devices: Devices,
    record: Mapping[str, Any],
    progress: Callable[[Record], None] | None,
    tell: Tell | None,
) -> SourceModel:
    """A teacher that knows the task, of this run or of one that ended before its time."""
    where = out / TEACHER
    # What is written last says that it is finished.
    last = FINAL if asked.config.teacher_tuning == "full" else DIFF
    if not (where / last).exists():
        if tell is not None:
            tell("tuning the teacher", 0, None)
        if asked.config.teacher_tuning == "full":
            (begun,) = devices.total([float(where.exists())])  # asked before any process can begin it
            _tune_fully(asked, where, bool(begun), progress, tell)
        else:
            _tune_sparsely(asked, where, record, progress, tell)
    return find_source_model(where / FINAL, out / FINAL)


def _tune_fully(
    asked: TaskAsked,
    where: Path,
    resume: bool,
    progress: Callable[[Record], None] | None,
    tell: Tell | None,
) -> None:
    request = asked.request
    settings = {
        each.name: getattr(asked.config.tuning, each.name)
        for each in dataclasses.fields(asked.config.tuning)
        if each.name not in ("weight_decay",)
    }
    finetune(
        asked.teacher.path,
        task=request.task.id,
        train_langs=[language.code for language in request.languages],
        out=where,
        data=request.data,
        settings=settings,
        limit=request.limit,
        tasks=asked.tasks,
        resume=resume,
        progress=progress,
        tell=tell,
    )


def _tune_sparsely(
    asked: TaskAsked,
    where: Path,
    record: Mapping[str, Any],
    progress: Callable[[Record], None] | None,
    tell: Tell | None,
) -> None:
    """Lottery-ticket sparse fine-tuning of the teacher, on labels alone."""
    config, request = asked.config, asked.request
    inputs, first, plan = prepare(asked.teacher, request, config.tuning.seed, tell)
    del first
    devices = Devices(precision=inputs.ready.precision, device=config.tuning.device)
    run = SparseRun(
        inputs=inputs,
        load=functools.partial(load_headed, asked.teacher, request.task, config.tuning.seed),
        config=config.tuning,
        plan=plan,
        devices=devices,
        maker=_maker(config, None),
        density=config.density,
        record=record,
        identity={
            **identity_of(inputs, config.tuning, plan),
            "density": config.density,
            "freeze_norms": config.freeze_norms,
            "l1": config.l1,
        },
        progress=progress,
        tell=tell,
    )
    _carry_out(run, asked.teacher, where)


def _maker(config: TaskConfig, taught: Taught | None) -> SparseMaker:
    return SparseMaker(taught=taught, chosen=None, freeze_norms=config.freeze_norms, l1=config.l1)


def _taught(asked: TaskAsked, teacher: SourceModel, inputs: FinetuneInputs, devices: Devices) -> Taught:
    """The teacher with its head, frozen.

    Raises:
        InputError: It has no head of this task, or another vocabulary.
    """
    task = asked.request.task
    return load_taught(
        teacher,
        asked.student,
        task,
        layers=asked.layers,
        losses=asked.config.losses(),
        seed=asked.config.tuning.seed,
        precision=inputs.ready.precision,
        devices=devices,
        advice=asked.advice,
    )


def _carry_out(run: SparseRun, base: SourceModel, out: Path) -> dict[str, Any]:
    """Both trainings, the model and its difference; the model's manifest."""
    ticket = tune_sparsely(run, out)
    if run.devices.is_main:
        remove(out / FINAL)  # of a run that was killed before it had written the difference
    manifest = _write(run, ticket, out)
    if run.devices.is_main:
        diff_models(base.path, out / FINAL, out=out / DIFF, mask=ticket.mask, overwrite=True)
        remove(out / SPARSE / SNAPSHOTS)
    run.devices.wait()
    return manifest


def _write(run: SparseRun, ticket: Ticket, out: Path) -> dict[str, Any]:
    loaded, devices = ticket.loaded, run.devices
    chosen = sum(map(len, ticket.mask.values()))
    parameters = dict(loaded.model.named_parameters())
    below = sum(parameters[name].numel() for name in base_names(loaded.model))
    sparse = {
        "density": run.density,
        "weights": chosen,
        "of": ticket.full.get("of"),
        "full": dict(ticket.full),
    }
    return write_tuned(
        run.inputs,
        loaded,
        ticket.sparse.optimiser,
        out,
        devices=devices,
        record={**run.record, "sparse": sparse},
        settings=run.identity,
        seed=run.config.seed,
        figures={
            **ticket.sparse.figures,
            "precision": run.inputs.ready.precision,
            "device": str(devices.device),
            "processes": devices.world_size,
            "frozen_parameters": below - chosen,
        },
    )
