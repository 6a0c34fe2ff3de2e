"""``polycompress distil``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from polycompress.cli import console
from polycompress.cli.completing import complete_languages
from polycompress.cli.options import Corpus, HeldOut, Json, Resume, codes_option, joined
from polycompress.cli.training_command import speak, training_needed
from polycompress.cli.training_view import training_progress


def distil(
    config: Annotated[
        str,
        typer.Option(
            "--config",
            metavar="PRESET|FILE",
            help="A recipe in YAML, or one that comes with the program: `bilingual-student`, `ernie-tiny`, "
            "`new-subwords`, `parallel-sentences`, `well-read-students`.",
        ),
    ],
    teacher: Annotated[
        str,
        typer.Argument(
            metavar="[TEACHER]",
            help="A directory, the word `demo`, or `owner/name[@revision]` on the Hugging Face hub. [default: the "
            "recipe's]",
        ),
    ] = "",
    student: Annotated[
        str | None,
        typer.Option(
            "--student",
            metavar="MODEL",
            help="What the student begins as, instead of what the recipe says of it.",
        ),
    ] = None,
    source: Annotated[
        str,
        typer.Option(
            "--source",
            metavar="CODE",
            autocompletion=complete_languages,
            help="The language that tasks are learnt in. [default: the recipe's]",
        ),
    ] = "",
    target: Annotated[
        list[str],
        codes_option(
            "--target", help="Languages that the student is for, joined by commas. [default: the recipe's]"
        ),
    ] = [],  # noqa: B006  typer reads the default, nothing changes it
    corpus: Corpus = [],  # noqa: B006
    held_out: HeldOut = [],  # noqa: B006
    out: Annotated[Path | None, typer.Option("--out", metavar="RUN", help="The run's directory.")] = None,
    settings: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Over what the recipe says: `student.layers=3`, `stages.general.steps=500`. May be repeated.",
        ),
    ] = [],  # noqa: B006
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            envvar="POLYCOMPRESS_DATA",
            help="Local data directory of tasks. [default: the recipe's, else data sets of the Hugging Face hub]",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the stages, and stop.")
    ] = False,
    resume: Resume = False,
    json: Json = False,
) -> None:
    """Distil a student in stages: any objectives, any teachers, as a recipe lists them.

    Each stage names its data (text, the examples of a task, or parallel sentences), its teacher (that of the recipe,
    one that an earlier stage tuned, or none) and its objectives; the student's weights carry over from stage to stage.
    What a stage lacks is found before anything is loaded. RUN gets stages/1-NAME/ and so on, each a run of its own, and
    final/, the last student, a model that loads with plain transformers. With --resume finished stages are left as they
    are.

    Examples:
        polycompress distil demo --config ernie-tiny --corpus en=en.txt.gz --corpus sw=sw.txt.gz --data DIR --out run

        polycompress distil --config my-objectives.yaml --set student.layers=3 --dry-run
    """
    with training_needed("distil", seed=0):  # each stage has its own seed
        from polycompress.pipelines.distil import distil as run
    with training_progress() as progress:
        result = run(
            config,
            teacher=teacher or None,
            student=student,
            source=source or None,
            target=joined(target),
            corpus=corpus,
            held_out=held_out,
            out=out,
            settings=settings,
            data=data,
            dry_run=dry_run,
            resume=resume,
            progress=progress.record,
            tell=progress.prepare,
            command=["polycompress", *sys.argv[1:]],
        )
    speak(result, lambda done: _show(done.as_dict()), json=json)


def _show(found: Mapping[str, Any]) -> None:
    student = found["student"] or f"its layers {', '.join(map(str, found['layers']))}"
    console.print_line(
        f"{found['recipe']}: teacher {found['teacher']} ({found['teacher_layers']} layers), student {student}"
        + (f", vocabulary cut to {', '.join(found['languages'])}" if found["trim"] else "")
    )
    stages: Sequence[Mapping[str, Any]] = found["stages"]
    rows = [
        (
            f"{number} {stage['name']}",
            stage["kind"],
            stage["task"] or stage["data"],
            stage["teacher"] or "none",
            ", ".join(_loss(*each) for each in stage["losses"].items()) or "its own",
            *([_score(stage)] if found["final"] else []),
        )
        for number, stage in enumerate(stages, 1)
    ]
    header = ("stage", "kind", "data", "teacher", "objectives", *(["development"] if found["final"] else []))
    console.print_facts(rows, header=header)
    for stage in stages:
        if stage.get("drops_head"):
            console.print_line(f"{stage['name']}: the head that the student comes with is left out")
    console.print_line(
        f"written to {found['final']}" if found["final"] else "nothing was written (--dry-run)"
    )


def _loss(name: str, weight: float) -> str:
    return name if weight == 1 else f"{name} x {weight:g}"


def _score(stage: Mapping[str, Any]) -> str:
    if "dev_score" in stage:
        return f"score {stage['dev_score']:.3f}"
    return f"loss {stage['held_out_loss']:.3f}" if "held_out_loss" in stage else ""
