"""``polycompress sft``: sparse differences added to models, taken of models, shown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from polycompress.cli import console
from polycompress.cli.options import Json, Out, Overwrite

HELP: Final = """Add sparse differences to a model, take one of two models, or show one.

A difference holds what a sparse fine-tuning changed: the chosen weights' changes and a task's head. Differences of one
model add up: a language's and a task's, in any order. Each is bound to its base model by the hash of every tensor.

Examples:
    polycompress sft diff demo tuned/final --out task.diff

    polycompress sft apply swahili.diff task.diff --to demo --out demo-sw-task

    polycompress sft show task.diff
"""
"""Of the group."""


def apply(
    diffs: Annotated[
        list[Path], typer.Argument(metavar="DIFF...", help="Files of differences, in any order.")
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="MODEL",
            help="Their base: a directory, `demo`, or `owner/name[@revision]` on the hub.",
        ),
    ],
    out: Out,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Add differences to the model that they were made for.

    Values that meet at one place are added in float64 and rounded once, so the order of the files does not matter. A
    difference of another model is refused, and the tensors that differ are named.

    Examples:
        polycompress sft apply task.diff --to demo --out demo-task

        polycompress sft apply swahili.diff task.diff --to demo --out demo-sw-task --overwrite
    """
    from polycompress.pipelines.sft import apply_sft

    with console.progress_bars() as tell:
        result = apply_sft(
            diffs, to=to, out=out, overwrite=overwrite, command=["polycompress", *sys.argv[1:]], tell=tell
        )
    if json:
        console.print_json(result.as_dict())
        return
    _show_facts(result.as_dict())
    console.print_line(f"written to {result.out}")


def diff(
    base: Annotated[str, typer.Argument(metavar="BASE", help="The model before.")],
    tuned: Annotated[
        str, typer.Argument(metavar="TUNED", help="The model after, of the same shapes and types.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write.")],
    note: Annotated[list[str], typer.Option("--note", help="Kept in the file. May be repeated.")] = [],  # noqa: B006
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    json: Json = False,
) -> None:
    """Take the exact difference of two models: added to the first it gives the second's weights, bit by bit.

    Holds every value whose bits differ. A head that only the second has is kept whole.

    Examples:
        polycompress sft diff demo tuned/final --out task.diff

        polycompress sft diff student sw-ner --out sw-ner.diff --note 'density 0.1'
    """
    from polycompress.pipelines.sft import diff_models

    with console.progress_bars() as tell:
        result = diff_models(base, tuned, out=out, notes=note, overwrite=overwrite, tell=tell)
    if json:
        console.print_json(result.as_dict())
        return
    _show_facts(result.as_dict())
    console.print_line(f"written to {result.out}")


def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A difference.")], json: Json = False
) -> None:
    """Show what a difference changes, what it belongs to and how it came to be.

    Examples:
        polycompress sft show task.diff

        polycompress sft show task.diff --json
    """
    from polycompress.pipelines.sft import show_diff

    found = show_diff(file)
    if json:
        console.print_json(found)
        return
    _show_facts(found)
    rows = [
        (name, console.number(each["entries"]), console.percent(each["entries"] / max(1, each["values"])))
        for name, each in found["tensors"].items()
    ]
    if rows:
        console.print_facts(rows, header=("tensor", "values", "share"))


def _show_facts(found: dict[str, Any]) -> None:
    """What differences do, in a few lines."""
    rows = [
        (
            "values changed",
            f"{console.number(found['k'])} ({console.percent(found['density'], 2)} of the base)",
        ),
        ("tensors they lie in", console.number(len(found["tensors"]))),
        ("tensors kept whole", ", ".join(found["dense"]) or "none"),
        ("tensors dropped", ", ".join(found["dropped"]) or "none"),
        ("task", found["task"] or "unknown"),
        ("languages", ", ".join(found["languages"]) or "unknown"),
        ("notes", "; ".join(found.get("notes", ())) or "none"),
        ("digest", found["digest"]),
    ]
    console.print_facts(rows, "sparse difference")
