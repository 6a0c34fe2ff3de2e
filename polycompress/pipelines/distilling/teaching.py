"""A teacher of a task, loaded for a student."""

from __future__ import annotations

from typing import Any

from tokenizers import Tokenizer

from polycompress.errors import InputError
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.pipelines.distilling.loss_specs import LossSpec
from polycompress.pipelines.distilling.task_parts import Taught, token_rows
from polycompress.pipelines.tuning.parts import load_headed
from polycompress.pipelines.tuning.source_model import SourceModel
from polycompress.pipelines.tuning.task_heads import answers_task
from polycompress.training.devices import Devices
from polycompress.training.teachers import round_linear_


def check_pair(teacher: SourceModel, student: SourceModel, task: TaskSpec, *, advice: str | None) -> None:
    """What can be told of a teacher and a student of a task before either is loaded.

    Args:
        teacher: Found.
        student: Found.
        task: Which.
        advice: What to do where the teacher has no head of this task; None: it needs none.

    Raises:
        InputError: The teacher has no head of this task, or lacks tokens of the student's; both are named.
    """
    faults = []
    if advice is not None and not answers_task(teacher.config, task):
        faults.append(_headless(teacher, task, advice))
    own, other = (vocabulary_of(each) for each in (student, teacher))
    try:
        token_rows(own, other, max(own.values()) + 1)
    except InputError as error:
        faults.append(str(error))
    if faults:
        raise InputError("\n  ".join(faults))


def load_teacher(
    teacher: SourceModel, task: TaskSpec, *, seed: int, precision: str, devices: Devices, advice: str | None
) -> Any:
    """A teacher with its head, on the run's device.

    Args:
        teacher: Found.
        task: Which.
        seed: Of a head that it lacks, where its answers are not asked for.
        precision: ``bf16`` or ``fp32``.
        devices: The processes.
        advice: What to do where it has no head of this task; None: it needs none.

    Raises:
        InputError: It has no head of this task.
    """
    loaded = load_headed(teacher, task, seed)
    heads = [name for name in loaded.fresh if "pooler" not in name]
    if heads and advice is not None:
        raise InputError(_headless(teacher, task, advice))
    model = loaded.model.to(devices.device)
    if precision == "bf16":
        round_linear_(model)
    return model


def load_taught(
    teacher: SourceModel,
    student: SourceModel,
    task: TaskSpec,
    *,
    layers: tuple[int, ...],
    losses: tuple[LossSpec, ...],
    seed: int,
    precision: str,
    devices: Devices,
    advice: str | None,
) -> Taught:
    """The teacher with its head, frozen.

    Args:
        teacher: Found.
        student: Whose tokens it is shown.
        task: Which.
        layers: Of the teacher, for each of the student's.
        losses: What is learnt of it.
        seed: Of a head that it lacks, where its answers are not asked for.
        precision: ``bf16`` or ``fp32``.
        devices: The processes.
        advice: What to do where it has no head of this task; None: it needs none.

    Raises:
        InputError: It has no head of this task, or another vocabulary.
    """
    model = load_teacher(teacher, task, seed=seed, precision=precision, devices=devices, advice=advice)
    own, other = (vocabulary_of(each) for each in (student, teacher))
    rows = token_rows(own, other, max(own.values()) + 1)
    return Taught(model=model, rows=rows, layers=layers, losses=losses)


def _headless(teacher: SourceModel, task: TaskSpec, advice: str) -> str:
    return (
        f"{teacher.path}: has no head for task {task.id} with the labels {', '.join(task.labels)}, so it cannot teach "
        f"it. {advice}"
    )


def vocabulary_of(model: SourceModel) -> dict[str, int]:
    """Ids by token."""
    found: dict[str, int] = Tokenizer.from_str(model.tokenizer_json).get_vocab(with_added_tokens=True)
    return found
