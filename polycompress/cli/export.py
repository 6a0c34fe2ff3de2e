"""``polycompress export``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polycompress.cli import console
from polycompress.cli.completing import complete_tasks
from polycompress.cli.options import Data, Json, Model, Out, Overwrite, OwnTasks, codes_option, joined
from polycompress.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from polycompress.pipelines.export import ExportResult


def export(
    model: Model,
    out: Out,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="A graph for onnxruntime, compared with the model.")
    ] = False,
    sentence_transformers: Annotated[
        bool,
        typer.Option(
            "--sentence-transformers", help="A directory in the layout of that library; without torch."
        ),
    ] = False,
    pooling: Annotated[
        str | None,
        typer.Option(
            "--pooling",
            metavar="NAME",
            help="Of --sentence-transformers, where the model does not say: `mean` (the default), `cls`, `max`, "
            "`weightedmean`, `lasttoken`, `mean_sqrt_len_tokens`.",
        ),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Of --onnx: matrices and tables in eight bits.")
    ] = False,
    reduce_range: Annotated[
        bool,
        typer.Option(
            "--reduce-range", help="Of --int8: matrices in seven bits, for processors without VNNI."
        ),
    ] = False,
    body: Annotated[bool, typer.Option("--body", help="Leave the head out.")] = False,
    text: Annotated[
        list[str],
        typer.Option(
            "--text",
            metavar="[LANG=]PATTERN",
            help="Text to compare on, one text a line. May be repeated. [default: words of the model's languages]",
        ),
    ] = [],  # noqa: B006  typer reads the default, nothing changes it
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="TASK",
            autocompletion=complete_tasks,
            help="Also score model and graph; see `polycompress tasks`.",
        ),
    ] = None,
    langs: Annotated[list[str], codes_option("--langs", help="Of --task. [default: all]")] = [],  # noqa: B006
    data: Data = None,
    tasks: OwnTasks = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", help="Of --task: first examples of each language only."),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a model in a form that other programs serve.

    --onnx writes a graph in which batch and length are free, with the tokenizer beside it, and compares its outputs
    with the model's; `polycompress bench` and `polycompress eval` take the directory as they take a model.

    --sentence-transformers writes a directory that the library of that name loads; modules and prompts that the model
    comes with are kept.

    Examples:
        polycompress export demo --onnx --out demo-onnx

        polycompress export mlm-run --sentence-transformers --pooling mean --out sentences

        polycompress export sw-ner --onnx --int8 --task ner-wikiann --langs en,sw --data data --out sw-ner-onnx
    """
    if onnx and sentence_transformers:
        raise InputError(
            "export: --onnx and --sentence-transformers are two forms, and one is written at a time: leave one out"
        )
    if not onnx and not sentence_transformers:
        raise InputError("export: say which form to write: --onnx or --sentence-transformers")
    command = ["polycompress", *sys.argv[1:]]
    if sentence_transformers:
        _refuse("--onnx", {"--int8": int8, "--body": body, "--text": text, "--task": task, "--limit": limit})
        _write_sentence_transformers(model, out, pooling, command, overwrite=overwrite, json=json)
        return
    _refuse("--sentence-transformers", {"--pooling": pooling})
    if reduce_range and not int8:
        raise InputError("--reduce-range is of --int8: give both")
    try:
        from polycompress.pipelines.export import export_onnx
        from polycompress.pipelines.exporting.scores import TaskRequest
    except ModuleNotFoundError as error:
        raise MissingExtraError("polycompress export --onnx", "train,onnx") from error
    request = None
    if task is not None:
        request = TaskRequest(task=task, langs=joined(langs) or "all", data=data, tasks=tasks, limit=limit)
    with console.progress_bars() as progress:
        result = export_onnx(
            model, out=out, int8=int8, reduce_range=reduce_range, body=body, text=text, task=request,
            overwrite=overwrite, progress=progress, command=command,
        )  # fmt: skip
    if json:
        console.print_json(result.as_dict())
    else:
        _show(result)


def _refuse(form: str, given: Mapping[str, object]) -> None:
    """Refuse options that are of the other form."""
    wrong = [name for name, value in given.items() if value]
    if wrong:
        raise InputError(f"{' and '.join(wrong)}: only with {form}")


def _write_sentence_transformers(
    model: str, out: Path, pooling: str | None, command: list[str], *, overwrite: bool, json: bool
) -> None:
    from polycompress.pipelines.sentence_export import export_sentence_transformers

    with console.progress_bars() as progress:
        result = export_sentence_transformers(
            model, out=out, pooling=pooling, overwrite=overwrite, progress=progress, command=command
        )
    if json:
        console.print_json(result.as_dict())
        return
    made = "as its own modules say" if result.pooling is None else f"by pooling ({result.pooling})"
    console.print_line(f"{result.source}: vectors of texts are made {made}")
    console.print_line(f"written to {result.out}")


def _show(result: ExportResult) -> None:
    before, after = (console.megabytes(result.sizes[when]["bytes"]) for when in ("before", "after"))
    console.print_line(
        f"{result.source}: weights {before}, graph {after}; it gives {', '.join(result.outputs)}"
    )
    compared = {"fp32": result.fp32, "int8": result.int8}
    console.print_facts(
        [
            (
                label,
                f"{found.largest_difference:.3g} of {found.largest_output:.3g}",
                "-" if found.mean_cosine is None else f"{found.mean_cosine:.5f} ({found.least_cosine:.5f})",
                "-" if found.equal_predictions is None else console.percent(found.equal_predictions),
            )
            for label, found in compared.items()
            if found is not None
        ],
        header=("graph", "difference", "cosine (least)", "equal predictions"),
    )
    if result.quantised is not None:
        done = result.quantised
        console.print_line(
            f"{done.matrices} matrices in {done.bits} bits, {done.tables} tables in 8; {done.left} products of two "
            f"activations stay: {console.megabytes(done.bytes_before)} became {console.megabytes(done.bytes_after)}"
        )
    if result.scores is not None:
        _show_scores(result.scores)
    console.print_line(
        f"compared with the model on {result.fp32.texts} texts, {result.fp32.tokens:,} tokens: {result.texts}"
    )
    console.print_line(f"written to {result.out}")


def _show_scores(scores: Any) -> None:
    rows = [
        (
            " ".join(filter(None, (part["language"], part["subset"]))),
            f"{part['examples']:,}",
            f"{part['before']:.4f}",
            f"{part['after']:.4f}",
        )
        for part in scores["parts"]
    ]
    console.print_facts(rows, f"{scores['task']}, {scores['metric']}", ("", "examples", "model", "graph"))
