"""The teachers of a stage on a task, loaded: each with its head, and with tokens of its own where it needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from polycompress.evaluation.encoding import TaskEncoder
from polycompress.evaluation.models import task_model
from polycompress.pipelines.distilling.losses import OBJECTIVES
from polycompress.pipelines.distilling.own_tokens import make_own_tokens
from polycompress.pipelines.distilling.recipe_teachers import relation
from polycompress.pipelines.distilling.task_parts import Taught, token_rows
from polycompress.pipelines.distilling.teaching import load_teacher, vocabulary_of
from polycompress.pipelines.tuning.inputs import FinetuneInputs
from polycompress.pipelines.tuning.source_model import SourceModel
from polycompress.training.devices import Devices
from polycompress.training.teachers import Further

_ADVICE: Final = "Tune a teacher in an earlier stage (kind: tune)."


def load_teachers(
    teachers: Sequence[SourceModel],
    taught: Taught,
    inputs: FinetuneInputs,
    devices: Devices,
    *,
    answers: Sequence[bool],
) -> Taught:
    """Load teachers for a student.

    Args:
        teachers: Found, at least one.
        taught: What is learnt.
        inputs: The student and its examples.
        devices: The processes.
        answers: Of each teacher, whether it needs the task's head.

    Raises:
        InputError: One has no head of this task, or its tokenizer refuses an example.
    """
    student, config = inputs.model, inputs.request.config
    own = vocabulary_of(student)
    loaded: list[Further] = []
    encoders: list[TaskEncoder | None] = []
    for teacher, is_asked in zip(teachers, answers, strict=True):
        model = load_teacher(
            teacher,
            inputs.task,
            seed=config.seed,
            precision=inputs.ready.precision,
            devices=devices,
            advice=_ADVICE if is_asked else None,
        )
        is_other = relation(student, teacher)[0] == "other"
        rows = None if is_other else token_rows(own, vocabulary_of(teacher), max(own.values()) + 1)
        loaded.append(Further(model=model, rows=rows))
        encoders.append(_encoder(teacher, model, inputs) if is_other else None)
    found = None
    if any(each is not None for each in encoders):
        names = {each.name for each in taught.losses}
        of_tags = inputs.task.kind == "token-classification"
        words = "mixed-hidden" in names or (of_tags and any(OBJECTIVES[name].of_words for name in names))
        found = make_own_tokens(
            inputs.train, inputs.ready.encoder, encoders, stride=config.stride, words=words
        )
    first, *others = loaded
    return replace(taught, model=first.model, rows=first.rows, others=tuple(others), own=found)


def _encoder(teacher: SourceModel, model: Any, inputs: FinetuneInputs) -> TaskEncoder:
    """What cuts examples for a teacher, as it would be if it learnt the task itself."""
    return task_model(
        model,
        teacher.tokenizer_json,
        kind=inputs.task.kind,
        labels=inputs.task.labels,
        config=teacher.config,
        tokenizer_config=teacher.tokenizer_config,
        device=inputs.ready.device,
        precision=inputs.ready.precision,
        max_length=inputs.request.config.max_length,
        where=str(teacher.path),
    ).encoder
