"""``polycompress eval``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from polycompress.cli import console
from polycompress.cli.options import (
    BatchTokens,
    Data,
    Device,
    Json,
    Overwrite,
    OwnTasks,
    Precision,
    Task,
    TaskLength,
    codes_option,
    joined,
)
from polycompress.errors import InputError, MissingExtraError

NOWHERE = Path()
"""Stands for a file that was not named: typer knows no pair that may be missing."""


def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="[MODEL]",
            help="A directory, a run of `polycompress finetune` (all its seeds), the word `demo`, or "
            "`owner/name[@revision]` on the Hugging Face hub.",
        ),
    ] = "",
    task: Task = "",
    langs: Annotated[
        list[str],
        codes_option("--langs", help="Languages, joined by commas, or `all`. [default: all]"),
    ] = [],  # noqa: B006
    suite: Annotated[
        str,
        typer.Option(
            "--suite", metavar="SUITE", help="Several tasks; what has to be tuned first is tuned in DIR."
        ),
    ] = "",
    data: Data = None,
    split: Annotated[str, typer.Option("--split", help="`test`, `dev` or `train`.")] = "test",
    teacher: Annotated[
        str, typer.Option("--teacher", metavar="MODEL", help="Also show how loyal MODEL is to this one.")
    ] = "",
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Also show what a bag of words reaches, where there is one.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", help="First examples of each language only.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write TASK.json and TASK.md there.")
    ] = None,
    compare: Annotated[
        tuple[Path, Path],
        typer.Option(
            "--compare",
            metavar="A.json B.json",
            help="Compare two results of the same task.",
            show_default=False,
        ),
    ] = (NOWHERE, NOWHERE),
    tasks: OwnTasks = None,
    max_length: TaskLength = None,
    batch_tokens: BatchTokens = 4096,
    precision: Precision = "auto",
    device: Device = "auto",
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            help="Before each text of retrieval and word translation. [default: the model's own, if any]",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap; of a suite's tuning the first.")] = 0,
    seeds: Annotated[int, typer.Option("--seeds", help="Of a suite's tuning: how many.")] = 1,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Judge a model: scores by language with intervals, averages, and what stands beside them.

    Languages that a task lacks are shown as gaps and enter no average. A run of `finetune --seeds N` is judged as a
    whole: mean, spread, and the share of seeds that collapsed. Loyalty compares what MODEL and the teacher say of the
    same texts, whatever their vocabularies. A suite that was interrupted goes on where it ended.

    Examples:
        polycompress eval ner-run --task ner-wikiann --langs de,sw,ru --data DIR

        polycompress eval demo --suite quick --data DIR --out results

        polycompress eval --compare results/xnli.json other/xnli.json
    """
    if compare != (NOWHERE, NOWHERE):
        if model or task or suite:
            raise InputError(
                "--compare takes two results and nothing else: leave MODEL, --task and --suite out."
            )
        _compare(compare, seed=seed, json=json)
        return
    _check(model, task, suite, out=out, split=split, tasks=tasks, seeds=seeds)
    try:
        from polycompress.pipelines.evaluate_into import evaluate_into
        from polycompress.pipelines.evaluate_suite import evaluate_suite
        from polycompress.pipelines.judging.request import find_request
        from polycompress.pipelines.judging.settings import read_settings
    except ModuleNotFoundError as error:
        raise MissingExtraError("polycompress eval", "train") from error
    settings = read_settings(
        {
            "max_length": max_length,
            "batch_tokens": batch_tokens,
            "precision": precision,
            "device": device,
            "prompt": prompt,
            "seed": seed,
        }
    )
    command = ["polycompress", *sys.argv[1:]]
    asked: dict[str, Any] = {
        "langs": joined(langs) or "all", "data": data, "teacher": teacher or None, "limit": limit, "settings": settings
    }  # fmt: skip
    done: dict[str, Any] = {"baseline": baseline, "overwrite": overwrite, "command": command}
    with console.progress_bars() as progress:
        if suite:
            found = evaluate_suite(
                model, suite=suite, out=out or Path(), seeds=seeds, progress=progress, **asked, **done
            )
            results, shown = list(found.results), found.as_dict()
        else:
            request = find_request(model, task=task, split=split, tasks=tasks, **asked)
            shown = evaluate_into(out, request, progress=progress, **done)
            results, found = [shown], None
    if json:
        console.print_json(shown)
        return
    from polycompress.cli.eval_view import show_result, show_suite

    for result in results:
        show_result(result)
    if found is not None:
        show_suite(results, found.skipped)
    if out is not None:
        console.print_line(f"written to {out}")


def _check(
    model: str, task: str, suite: str, *, out: Path | None, split: str, tasks: Path | None, seeds: int
) -> None:
    """Refuse options that do not go together."""
    if not model or bool(task) == bool(suite):
        raise InputError(
            "Give MODEL and either --task or --suite, such as: polycompress eval demo --task retrieval-tatoeba. "
            "The tasks are listed by `polycompress tasks`."
        )
    if suite and out is None:
        raise InputError(f"--suite {suite}: name with --out the directory for its results and tuned models.")
    if suite and (split != "test" or tasks is not None):
        raise InputError(
            f"--suite {suite}: has test splits of built-in tasks; --split and --tasks go with --task."
        )
    if task and seeds != 1:
        raise InputError(f"--seeds {seeds}: is for the tuning of a --suite; --task judges what is there.")


def _compare(files: tuple[Path, Path], *, seed: int, json: bool) -> None:
    from polycompress.cli.eval_view import show_comparison
    from polycompress.evaluation.comparing import compare_results

    found: Mapping[str, Any] = compare_results(*files, seed=seed)
    if json:
        console.print_json(found)
    else:
        show_comparison(found)
