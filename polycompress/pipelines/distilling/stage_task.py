"""A stage in which the student learns a task from a teacher, all of its weights moving."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polycompress
from polycompress.corpora import CorpusSpec
from polycompress.distill.shelf import Shelf
from polycompress.evaluation.forward import BATCH_TOKENS
from polycompress.modeldir.distilling_card import render_distilling_card
from polycompress.pipelines.distilling.loss_specs import LossSpec
from polycompress.pipelines.distilling.shelving import shelve
from polycompress.pipelines.distilling.task_parts import SparseMaker, Taught
from polycompress.pipelines.distilling.task_teachers import load_teachers
from polycompress.pipelines.distilling.transfer import read_transfer
from polycompress.pipelines.finetune import prepare
from polycompress.pipelines.tuning.data import read_task_data
from polycompress.pipelines.tuning.inputs import FinetuneInputs, FinetuneRequest, identity_of
from polycompress.pipelines.tuning.parts import seeded
from polycompress.pipelines.tuning.run import Tuning, tune
from polycompress.pipelines.tuning.source_model import SourceModel
from polycompress.pipelines.tuning.trained_writing import as_saved, write_trained, writing_notes
from polycompress.pipelines.tuning.writing import write_tuned
from polycompress.training.devices import Devices
from polycompress.training.distilling import Distillation
from polycompress.training.items import Items
from polycompress.training.keeping import in_teachers_ids
from polycompress.training.metrics import Record
from polycompress.training.run_files import FINAL
from polycompress.training.runs import begun_run
from polycompress.training.task_model import HeadedModel, HeadKind

Tell = Callable[[str, int, int | None], None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TaskStage:
    """What is asked for."""

    request: FinetuneRequest
    losses: tuple[LossSpec, ...]
    layers: tuple[int, ...]
    """Of the teacher, for each of the student's."""
    transfer: tuple[CorpusSpec, ...]
    """Texts without labels, instead of the training examples; empty: the examples."""
    answers: tuple[bool, ...]
    """Of each teacher, whether its answers are compared, so that it needs the task's head."""
    keep: Path | None = None
    """Directory of stores for what the one teacher says; None: it is asked each time."""
    trains_head: bool
    """Whether the student's head learns something; otherwise the result has none, and the last state is taken."""


def run_task_stage(
    stage: TaskStage,
    student: SourceModel,
    teachers: Sequence[SourceModel],
    out: Path,
    *,
    record: Mapping[str, Any],
    progress: Callable[[Record], None] | None,
    tell: Tell | None,
) -> dict[str, Any]:
    """Train, from the beginning or from where it was left; the manifest of the student.

    Args:
        stage: What is asked for.
        student: As it begins.
        teachers: Of the task, or of hidden states and attention alone; none: the labels are enough.
        out: The run's directory.
        record: For the run's configuration and the manifest.
        progress: Told each record of the log.
        tell: Told what is being prepared.

    Raises:
        InputError: Examples, models and settings do not go together.
        PolycompressError: The run ended before its time; see ``polycompress.training.loop.train``.
    """
    request, config = stage.request, stage.request.config
    read = functools.partial(read_transfer, corpora=stage.transfer) if stage.transfer else read_task_data
    inputs, loaded, plan = prepare(student, request, config.seed, tell, read)
    config = dataclasses.replace(config, steps=plan.steps, epochs=None)
    devices = Devices(precision=inputs.ready.precision, device=config.device)
    taught = Taught(model=None, rows=None, layers=stage.layers, losses=stage.losses)
    if teachers:
        taught = load_teachers(teachers, taught, inputs, devices, answers=stage.answers)
    if stage.keep is not None:
        (teacher,) = teachers
        taught = dataclasses.replace(
            taught, keep=functools.partial(_keep, stage.keep, teacher, inputs, loaded.head, devices, tell)
        )
    identity = {
        **identity_of(inputs, request.config, plan),
        **({"kept": True} if stage.keep is not None else {}),
        "teacher": dict(teachers[0].hashes) if teachers else None,
        **({"others": [dict(each.hashes) for each in teachers[1:]]} if teachers[1:] else {}),
        "losses": [dataclasses.asdict(each) for each in stage.losses],
        "layers": list(stage.layers),
    }
    with (
        begun_run(out, record, identity, devices, resume=out.exists()) as snapshot,
        seeded(config.seed * 1_000_003 + devices.rank),
    ):
        done = tune(
            inputs,
            loaded,
            config,
            plan,
            out,
            devices,
            snapshot,
            identity=identity,
            progress=progress,
            make=SparseMaker(taught=taught, chosen=None, freeze_norms=False),
            judge=stage.trains_head,
        )
        write = _write_headed if stage.trains_head else _write_headless
        return write(stage, inputs, loaded, done, out, devices, record, identity)


def _keep(
    root: Path,
    teacher: SourceModel,
    inputs: FinetuneInputs,
    head: HeadKind,
    devices: Devices,
    tell: Tell | None,
    distillation: Distillation,
    items: Items,
) -> Shelf:
    """Keep what the teacher says of all examples."""
    rows = None if distillation.rows is None else distillation.rows.cpu().numpy()
    own = (items[number] for number in range(len(items)))
    return shelve(
        distillation,
        root,
        teacher.path,
        (in_teachers_ids(item.ids, item.type_ids, rows) for item in own),
        answers=head,
        token_budget=max(BATCH_TOKENS, items.longest),
        pad_id=teacher.pad_id,
        precision=inputs.ready.precision,
        devices=devices,
        tell=tell,
    )


def _figures(stage: TaskStage, inputs: FinetuneInputs, done: Tuning, devices: Devices) -> dict[str, Any]:
    return {
        **done.figures,
        "losses": losses_of(stage.losses),
        "precision": inputs.ready.precision,
        "device": str(devices.device),
        "processes": devices.world_size,
    }


def losses_of(losses: Sequence[LossSpec]) -> dict[str, float]:
    """Weights of objectives by name, for the manifest."""
    return {each.name: each.weight for each in losses}


def _write_headed(
    stage: TaskStage,
    inputs: FinetuneInputs,
    loaded: HeadedModel,
    done: Tuning,
    out: Path,
    devices: Devices,
    record: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    return write_tuned(
        inputs,
        loaded,
        done.optimiser,
        out,
        devices=devices,
        record=record,
        settings=settings,
        seed=stage.request.config.seed,
        figures={**_figures(stage, inputs, done, devices), "frozen_parameters": done.frozen},
    )


def _write_headless(
    stage: TaskStage,
    inputs: FinetuneInputs,
    loaded: HeadedModel,
    done: Tuning,
    out: Path,
    devices: Devices,
    record: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the encoder alone: its head is as random as in the beginning, and must not look like a trained one."""
    base = loaded.model.base_model
    prefix = f"{loaded.model.base_model_prefix}."
    state = {
        name.removeprefix(prefix): tensor
        for name, tensor in done.optimiser.exported_state(loaded.model).items()
        if name.startswith(prefix)
    }
    manifest = {
        **record,
        "tool": {"name": "polycompress", "version": polycompress.__version__},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": dict(settings),
        "seed": stage.request.config.seed,
        "source": inputs.model.record(),
        "architectures": [type(base).__name__],
        "distillation": {
            **_figures(stage, inputs, done, devices),
            "task": stage.request.task.id,
            "examples": inputs.counts()["train"],
        },
        "sizes": {
            "after": {
                "parameters": sum(parameter.numel() for parameter in base.parameters()),
                "vocab": int(base.get_input_embeddings().num_embeddings),
            }
        },
        "notes": [*writing_notes(inputs.model, (), loaded.dtype, "a student"), *inputs.notes],
    }
    if devices.is_main:
        weights = as_saved(state, base, loaded.dtype)
        write_trained(
            out / FINAL, base, weights, loaded.dtype, inputs.model, manifest, render_distilling_card
        )
    devices.wait()
    return manifest
