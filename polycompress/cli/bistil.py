"""``polycompress bistil general`` and ``polycompress bistil task``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from polycompress.cli import console
from polycompress.cli.mlm import parse_shares
from polycompress.cli.options import Corpus, Json, Model
from polycompress.cli.training_view import duration, training_progress
from polycompress.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from polycompress.pipelines.bistil_general import GeneralResult
    from polycompress.pipelines.bistil_task import TaskResult


HELP: Final = """Bilingual students: distil one on text (`general`), then let it learn a task (`task`).

Examples:
    polycompress bistil general demo --source en --target sw --corpus en=en.txt.gz --corpus sw=sw.txt.gz --steps 2000 --out sw-student

    polycompress bistil task sw-student --teacher demo --task ner-wikiann --density 0.1 --out sw-ner
"""  # noqa: E501  a command to copy stands on one line


def general(
    model: Model,
    source: Annotated[
        str, typer.Option("--source", metavar="CODE", help="The language that tasks will be learnt in.")
    ],
    target: Annotated[
        str, typer.Option("--target", metavar="CODE", help="The language that they are wanted in.")
    ],
    corpus: Corpus,
    steps: Annotated[int, typer.Option("--steps", help="Of the optimiser.")],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="The run's directory.")],
    layers: Annotated[int, typer.Option("--layers", help="Of the student.")] = 6,
    layer_map: Annotated[
        str,
        typer.Option(
            "--layer-map",
            metavar="L,L,...",
            help="Layers of the teacher, from 0, one for each of the student's. [default: the last of each block]",
        ),
    ] = "",
    strategy: Annotated[
        str, typer.Option("--strategy", help="`every-nth` layer of the teacher, or the `bottom` ones.")
    ] = "every-nth",
    hidden: Annotated[
        int | None,
        typer.Option(
            "--hidden", metavar="UNITS", help="Of hidden states, fewer than the teacher's. [default: as many]"
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the newest whole snapshot in the run's directory.")
    ] = False,
    held_out: Annotated[
        list[str],
        typer.Option(
            "--held-out", metavar="[LANG=]PATTERN", help="Text to measure the loss on. May be repeated."
        ),
    ] = [],  # noqa: B006  typer reads the default, nothing changes it
    field: Annotated[
        str | None, typer.Option("--field", help="Column of .jsonl, .csv, .tsv and .parquet files.")
    ] = None,
    no_trim: Annotated[
        bool, typer.Option("--no-trim", help="Keep MODEL's vocabulary: it is trimmed already.")
    ] = False,
    min_share: Annotated[
        float, typer.Option("--min-share", help="Relative frequency from which on a token is kept.")
    ] = 1e-6,
    hidden_weight: Annotated[
        float, typer.Option("--hidden-weight", help="Of the loss on hidden states.")
    ] = 1.0,
    attention_weight: Annotated[
        float, typer.Option("--attention-weight", help="Of the loss on attention.")
    ] = 1.0,
    attention: Annotated[
        str,
        typer.Option(
            "--attention",
            help="What of it is matched: `maps` after the softmax (BiStil), `scores` before it (TinyBERT), `relations` "
            "(MiniLMv2), `none`.",
        ),
    ] = "maps",
    relation_heads: Annotated[int, typer.Option("--relation-heads", help="Of relations.")] = 12,
    no_masking: Annotated[
        bool, typer.Option("--no-masking", help="Show both models the text as it is, no tokens masked.")
    ] = False,
    language_sft: Annotated[
        list[str],
        typer.Option(
            "--language-sft",
            metavar="LANG=FILE",
            help="A sparse difference that adapts MODEL to a language; the teacher of that language's text has it "
            "added. See `polycompress sft`. May be repeated.",
        ),
    ] = [],  # noqa: B006
    freeze_embeddings: Annotated[
        bool, typer.Option("--freeze-embeddings", help="Leave the student's table as the teacher's.")
    ] = False,
    batch_tokens: Annotated[
        int, typer.Option("--batch-tokens", help="Tokens of a batch, padding included.")
    ] = 2048,
    accumulation: Annotated[int, typer.Option("--accumulation", help="Batches of a step.")] = 1,
    max_length: Annotated[
        int, typer.Option("--max-length", help="Tokens of a text; longer ones are cut.")
    ] = 128,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="At its peak.")] = 1e-4,
    warmup_steps: Annotated[
        int | None, typer.Option("--warmup-steps", help="Steps to the peak. [default: a tenth, at most 1000]")
    ] = None,
    weight_decay: Annotated[float, typer.Option("--weight-decay")] = 0.0,
    precision: Annotated[
        str,
        typer.Option("--precision", help="`auto` (bf16 where the device is fast at it), `fp32` or `bf16`."),
    ] = "auto",
    mixing: Annotated[
        str, typer.Option("--mixing", help="`proportional`, `temperature`, `unimax` or `fixed`.")
    ] = "proportional",
    shares: Annotated[
        str,
        typer.Option("--shares", metavar="CODE=SHARE,...", help="Of fixed mixing, such as `sw=0.9,en=0.1`."),
    ] = "",
    seed: Annotated[int, typer.Option("--seed")] = 0,
    snapshot_every: Annotated[int, typer.Option("--snapshot-every", help="Steps between snapshots.")] = 500,
    log_every: Annotated[int, typer.Option("--log-every", help="Steps between lines of metrics.jsonl.")] = 10,
    device: Annotated[str, typer.Option("--device", help="`auto` or `cpu`.")] = "auto",
    json: Json = False,
) -> None:
    """Distil a bilingual student: fewer layers, the vocabulary of two languages, ready for a task learnt in one of them.

    The student begins with some of the teacher's layers and learns the teacher's hidden states and attention on text of
    both languages. RUN gets config.json, metrics.jsonl, teacher/ (trimmed), snapshots/ and, at the end, final/, a model
    that loads with plain transformers.

    Examples:
        polycompress bistil general demo --source en --target sw --corpus en=en.txt.gz --corpus sw=sw.txt.gz --steps 2000 --out sw-student

        polycompress bistil general xlm-roberta-base --source en --target de --corpus en='en/*.zst' --corpus de='de/*.zst' --layers 4 --steps 20000 --out de-student
    """  # noqa: E501  a command to copy stands on one line
    settings = {
        "text": {
            "training": {
                "steps": steps,
                "seed": seed,
                "precision": precision,
                "accumulation": accumulation,
                "log_every": log_every,
                "schedule": {
                    "kind": "linear",
                    "warmup_steps": min(steps // 10, 1000) if warmup_steps is None else warmup_steps,
                },
                "optimiser": {"learning_rate": learning_rate, "weight_decay": weight_decay},
                "snapshots": {"every_steps": snapshot_every},
            },
            "batching": {"token_budget": batch_tokens},
            "mixing": {"strategy": mixing, "shares": parse_shares(shares)},
            "masked": not no_masking,
            "freeze_embeddings": freeze_embeddings,
            "max_length": max_length,
            "device": device,
        },
        "shape": {
            "layers": layers,
            "layer_map": parse_layers(layer_map),
            "strategy": strategy,
            "hidden_size": hidden,
        },
        "hidden_weight": hidden_weight,
        "attention_weight": attention_weight,
        "attention": attention,
        "relation_heads": relation_heads,
        "trim": not no_trim,
        "min_share": min_share,
    }
    try:
        from polycompress.cli.determinism import seed_process
        from polycompress.pipelines.bistil_general import bistil_general

        seed_process(seed)
    except ModuleNotFoundError as error:
        raise MissingExtraError("polycompress bistil", "train") from error
    from polycompress.corpora import Reading

    with training_progress() as progress:
        result = bistil_general(
            model,
            source=source,
            target=target,
            corpus=corpus,
            out=out,
            settings=settings,
            held_out=held_out,
            language_sft=language_sft,
            reading=Reading(field=field),
            resume=resume,
            progress=progress.record,
            tell=progress.prepare,
            command=["polycompress", *sys.argv[1:]],
        )
    if os.environ.get("RANK", "0") != "0":  # one of several processes speaks for all
        return
    if json:
        console.print_json(result.as_dict())
    else:
        _show(result)


def task(
    student: Annotated[
        str,
        typer.Argument(
            metavar="STUDENT", help="What `polycompress bistil general` made: its run, or a model."
        ),
    ],
    task: Annotated[str, typer.Option("--task", metavar="TASK", help="See `polycompress tasks`.")],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="The run's directory.")],
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
        str,
        typer.Option(
            "--train-langs",
            metavar="CODES",
            help="Source languages. [default: the one the student was made for]",
        ),
    ] = "",
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            envvar="POLYCOMPRESS_DATA",
            help="Local data directory. [default: data sets of the Hugging Face hub]",
        ),
    ] = None,
    tasks: Annotated[
        Path | None, typer.Option("--tasks", metavar="DIR", help="Further task files of your own.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", help="First training examples of each language only."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the run in this directory ended before its time.")
    ] = False,
    temperature: Annotated[
        float, typer.Option("--temperature", help="Of the answers that are matched.")
    ] = 2.0,
    hidden_weight: Annotated[
        float, typer.Option("--hidden-weight", help="Of the loss on hidden states.")
    ] = 1.0,
    attention_weight: Annotated[
        float, typer.Option("--attention-weight", help="Of the loss on attention.")
    ] = 1.0,
    attention: Annotated[
        str, typer.Option("--attention", help="What of it is matched: `maps`, `scores`, `relations`, `none`.")
    ] = "maps",
    answer_weight: Annotated[
        float, typer.Option("--answer-weight", help="Of the loss on the teacher's answers.")
    ] = 1.0,
    gold_weight: Annotated[float, typer.Option("--gold-weight", help="Of the loss on labels.")] = 0.0,
    tune_norms: Annotated[bool, typer.Option("--tune-norms", help="Let norms change too.")] = False,
    epochs: Annotated[
        float | None, typer.Option("--epochs", help="How often the examples are read, in each training.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Of the optimiser in each training, instead of --epochs.")
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", help="At its peak. [default: by the width of the model]"),
    ] = None,
    precision: Annotated[
        str,
        typer.Option("--precision", help="`auto` (bf16 where the device is fast at it), `fp32` or `bf16`."),
    ] = "auto",
    seed: Annotated[int, typer.Option("--seed")] = 0,
    device: Annotated[str, typer.Option("--device", help="`auto` or `cpu`.")] = "auto",
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
        "answer_weight": answer_weight,
        "gold_weight": gold_weight,
        "freeze_norms": not tune_norms,
    }
    try:
        from polycompress.cli.determinism import seed_process
        from polycompress.pipelines.bistil_task import bistil_task

        seed_process(seed)
    except ModuleNotFoundError as error:
        raise MissingExtraError("polycompress bistil", "train") from error
    with training_progress() as progress:
        result = bistil_task(
            student,
            task=task,
            out=out,
            teacher=teacher,
            task_teacher=task_teacher,
            train_langs=train_langs,
            data=data,
            settings=settings,
            limit=limit,
            tasks=tasks,
            resume=resume,
            progress=progress.record,
            tell=progress.prepare,
            command=["polycompress", *sys.argv[1:]],
        )
    if os.environ.get("RANK", "0") != "0":  # one of several processes speaks for all
        return
    if json:
        console.print_json(result.as_dict())
    else:
        _show_task(result)


def parse_layers(text: str) -> tuple[int, ...]:
    """``1,3,5`` as numbers.

    Raises:
        InputError: It is written otherwise.
    """
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise InputError(f"--layer-map {text!r}: write layers of the teacher, such as 1,3,5") from error


def _show(result: GeneralResult) -> None:
    manifest = result.manifest
    facts: dict[str, Any] = dict(manifest.get("distillation") or {})
    sizes: dict[str, Any] = dict(manifest.get("sizes") or {})
    before, after = dict(sizes.get("before") or {}), dict(sizes.get("after") or {})
    console.print_facts(
        [
            ("layers of the teacher", ", ".join(map(str, manifest.get("layers") or ()))),
            *(
                (name, f"{console.number(before[key])} -> {console.number(after[key])}")
                for name, key in (("parameters", "parameters"), ("vocabulary", "vocab"))
                if key in before and key in after
            ),
            ("steps", console.number(facts.get("steps", 0))),
            *(
                (f"tokens of {code}", console.number(tokens))
                for code, tokens in (facts.get("language_tokens") or {}).items()
            ),
            ("time", duration(facts.get("seconds", 0.0))),
            *(
                [("loss on held-out text", f"{facts['held_out_loss']:.4f}")]
                if "held_out_loss" in facts
                else []
            ),
        ]
    )
    console.print_line(f"written to {result.final}")


def _show_task(result: TaskResult) -> None:
    tuning: dict[str, Any] = dict(result.manifest.get("finetuning") or {})
    sparse: dict[str, Any] = dict(result.manifest.get("sparse") or {})
    console.print_facts(
        [
            ("task", f"{tuning.get('task')} in {', '.join(tuning.get('train_languages') or ())}"),
            (
                "weights changed",
                f"{console.number(sparse.get('weights', 0))} of {console.number(sparse.get('of') or 0)}, and the head",
            ),
            ("best step", f"{tuning.get('best_step')} of {tuning.get('steps_planned')}"),
            (f"{tuning.get('metric')} on development examples", f"{tuning.get('dev_score', 0.0):.4f}"),
        ]
    )
    console.print_line(f"written to {result.final}; what was changed, to {result.diff}")
