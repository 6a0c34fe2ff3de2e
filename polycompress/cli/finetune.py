"""``polycompress finetune``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polycompress.cli import console
from polycompress.cli.options import (
    Data,
    Device,
    FirstSeed,
    Json,
    Model,
    OwnTasks,
    Precision,
    Resume,
    RunDirectory,
    Task,
    TaskLearningRate,
    TaskLength,
    TaskSteps,
    TrainingLimit,
    codes_option,
    joined,
)
from polycompress.cli.training_command import speak, training_needed
from polycompress.cli.training_view import duration, training_progress

if TYPE_CHECKING:
    from polycompress.pipelines.finetune import FinetuneResult


def finetune(
    model: Model,
    task: Task,
    train_langs: Annotated[
        list[str],
        codes_option("--train-langs", help="Source languages, joined by commas: `en`, `eng`, `English`."),
    ],
    out: RunDirectory,
    data: Data = None,
    tasks: OwnTasks = None,
    seeds: Annotated[
        int, typer.Option("--seeds", help="So many runs, each with a seed of its own, one after another.")
    ] = 1,
    seed: FirstSeed = 0,
    limit: TrainingLimit = None,
    resume: Resume = False,
    epochs: Annotated[
        float | None,
        typer.Option(
            "--epochs",
            help="How often the examples are read. [default: 10 of fewer than 1,000 examples, 4 of fewer than 6,000, 3 "
            "of fewer than 15,000, else 2]",
        ),
    ] = None,
    steps: TaskSteps = None,
    learning_rate: TaskLearningRate = None,
    head_learning_rate: Annotated[
        float | None, typer.Option("--head-learning-rate", help="Of the head. [default: 5 times the other]")
    ] = None,
    batch_tokens: Annotated[
        int | None,
        typer.Option(
            "--batch-tokens",
            help="Tokens of a batch, padding included. [default: 32 texts, or 16 windows of a context]",
        ),
    ] = None,
    max_length: TaskLength = None,
    freeze: Annotated[
        str,
        typer.Option(
            "--freeze",
            metavar="WHAT",
            help="`none`, `embeddings`, or `embeddings+N`: the first N layers as well.",
        ),
    ] = "none",
    class_weights: Annotated[
        bool, typer.Option("--class-weights", help="Let rare classes count more.")
    ] = False,
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience",
            help="Evaluations without a better one after which a run ends; 0: never before its last step. [default: 4]",
        ),
    ] = None,
    evaluate_every: Annotated[
        int | None,
        typer.Option(
            "--evaluate-every",
            help="Steps between looks at the development examples. [default: an epoch, or an eighth of the run]",
        ),
    ] = None,
    precision: Precision = "auto",
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Fine-tune a model on a task, so that it does it in the source languages and, zero-shot, in others.

    The best state on the development examples of the source languages, and of no others, becomes the result. RUN gets
    config.json, metrics.jsonl and final/, a model that loads with plain transformers; while it is at work also
    snapshots/. With --seeds 3 it gets such a run for each seed, seed-0 and so on, and summary.json: mean, spread, and
    the share of seeds that learnt nothing. `polycompress eval RUN` takes either. SIGTERM and SIGINT save before they
    end a run; the same command with --resume goes on.

    Examples:
        polycompress finetune demo --task sib200 --train-langs en --out topics --data DIR

        polycompress finetune demo --task ner-wikiann --train-langs en --out ner-model --seeds 3
    """
    given = {
        "epochs": epochs,
        "steps": steps,
        "learning_rate": learning_rate,
        "head_learning_rate": head_learning_rate,
        "batch_tokens": batch_tokens,
        "max_length": max_length,
        "freeze": freeze,
        "class_weights": class_weights,
        "patience": patience,
        "evaluate_every": evaluate_every,
        "precision": precision,
        "seed": seed,
        "device": device,
    }
    with training_needed("finetune", seed=seed):
        from polycompress.pipelines.finetune import finetune as run
    with training_progress() as progress:
        result = run(
            model,
            task=task,
            train_langs=joined(train_langs),
            out=out,
            data=data,
            settings={name: value for name, value in given.items() if value is not None},
            seeds=seeds,
            limit=limit,
            tasks=tasks,
            resume=resume,
            progress=progress.record,
            tell=progress.prepare,
            command=["polycompress", *sys.argv[1:]],
        )
    speak(result, _show, json=json)


def _show(result: FinetuneResult) -> None:
    summary: Mapping[str, Any] = result.summary
    console.print_line(
        f"{summary['task']}: {summary['metric']} on the development examples of the source languages"
    )
    header = ("seed", "score", "best step", "steps", "time")
    rows = [
        (
            str(each["seed"]) + (" (collapsed)" if each["collapsed"] else ""),
            f"{each['dev_score']:.3f}",
            console.number(each["best_step"]),
            console.number(each["steps"]),
            duration(each["seconds"]),
        )
        for each in summary["seeds"]
    ]
    console.print_facts(rows, header=header)
    if summary["dev"] and len(summary["seeds"]) > 1:
        spread = summary["dev"]
        console.print_line(f"mean {spread['mean']:.3f}, standard deviation {spread['spread']:.3f}")
    for path in result.finals:
        console.print_line(f"written to {path}")
