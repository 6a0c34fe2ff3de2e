"""``polycompress bistil task``."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from polycompress.cli.bistil_view import show_task
from polycompress.cli.options import (
    Attention,
    AttentionWeight,
    Data,
    Device,
    HiddenWeight,
    Json,
    OwnTasks,
    Precision,
    RelationHeads,
    Resume,
    RunDirectory,
    Seed,
    Task,
    TaskLearningRate,
    TaskSteps,
    TrainingLimit,
    codes_option,
    joined,
)
from polycompress.cli.training_command import speak, training_needed
from polycompress.cli.training_view import training_progress


def task(
    student: Annotated[
        str,
        typer.Argument(
            metavar="STUDENT", help="What `polycompress bistil general` made: its run, or a model."
        ),
    ],
    task: Task,
    out: RunDirectory,
    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher",
            metavar="MODEL",
            help="What the student was made from; it is tuned on the task first.",
        ),
    ] = None,
    task_teacher: Annotated[
        str | None,
        typer.Option("--task-teacher", metavar="DIR", help="A model that knows the task already, instead."),
    ] = None,
    teacher_tuning: Annotated[
        str, typer.Option("--teacher-tuning", help="How the teacher is tuned: `full` or `sparse`.")
    ] = "full",
    density: Annotated[
        float,
        typer.Option("--density", help="Share of the student's weights below the head that may change."),
    ] = 0.1,
    train_langs: Annotated[
        list[str],
        codes_option("--train-langs", help="Source languages. [default: the one the student was made for]"),
    ] = [],  # noqa: B006
    data: Data = None,
    tasks: OwnTasks = None,
    limit: TrainingLimit = None,
    resume: Resume = False,
    temperature: Annotated[
        float, typer.Option("--temperature", help="Of the answers that are matched.")
    ] = 2.0,
    hidden_weight: HiddenWeight = 1.0,
    attention_weight: AttentionWeight = 1.0,
    attention: Attention = "maps",
    relation_heads: RelationHeads = 12,
    answer_weight: Annotated[
        float, typer.Option("--answer-weight", help="Of the loss on the teacher's answers.")
    ] = 1.0,
    gold_weight: Annotated[float, typer.Option("--gold-weight", help="Of the loss on labels.")] = 0.0,
    tune_norms: Annotated[bool, typer.Option("--tune-norms", help="Let norms change too.")] = False,
    epochs: Annotated[
        float | None, typer.Option("--epochs", help="How often the examples are read, in each training.")
    ] = None,
    steps: TaskSteps = None,
    learning_rate: TaskLearningRate = None,
    precision: Precision = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Let a student learn a task in its source language from a teacher that knows it, changing few weights.

    The teacher is tuned first, unless one is given that knows the task. The student is then trained twice: once with
    all weights, to see which move furthest, then from the beginning with these alone. RUN gets final/, a model that
    loads with plain transformers, and task.diff, what was changed: see `polycompress sft`.

    Examples:
        polycompress bistil task sw-student --teacher demo --task ner-wikiann --density 0.1 --out sw-ner

        polycompress bistil task sw-student --task-teacher tuned/final --task sib200 --out sw-topics
    """
    settings: dict[str, Any] = {
        "tuning": {
            "weight_decay": 0.0,
            "epochs": epochs,
            "steps": steps,
            "learning_rate": learning_rate,
            "precision": precision,
            "seed": seed,
            "device": device,
        },
        "density": density,
        "teacher_tuning": teacher_tuning,
        "temperature": temperature,
        "hidden_weight": hidden_weight,
        "attention_weight": attention_weight,
        "attention": attention,
        "relation_heads": relation_heads,
        "answer_weight": answer_weight,
        "gold_weight": gold_weight,
        "freeze_norms": not tune_norms,
    }
    with training_needed("bistil", seed=seed):
        from polycompress.pipelines.bistil_task import bistil_task
    with training_progress() as progress:
        result = bistil_task(
            student,
            task=task,
            out=out,
            teacher=teacher,
            task_teacher=task_teacher,
            train_langs=joined(train_langs),
            data=data,
            settings=settings,
            limit=limit,
            tasks=tasks,
            resume=resume,
            progress=progress.record,
            tell=progress.prepare,
            command=["polycompress", *sys.argv[1:]],
        )
    speak(result, show_task, json=json)
