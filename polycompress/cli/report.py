"""``polycompress report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polycompress.cli import console
from polycompress.cli.options import Json
from polycompress.errors import MissingExtraError


def report(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="A training run, or what `eval --out` and `bench --out` wrote into one directory.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The page. [default: report.html in DIR]")
    ] = None,
    json: Json = False,
) -> None:
    """Show a training run, or results of evaluations and benchmarks, as one HTML page.

    Of a run, finished or not: loss, learning rate, speed, languages, settings. Of results: a heat map of languages and
    tasks, scores by size of the model with their intervals, scores by loyalty to the teacher, speed. The page stands
    alone: nothing is loaded from anywhere, and it can be sent as it is.

    Examples:
        polycompress report run

        polycompress report results --out results.html
    """
    try:
        from polycompress.report.results import write_results_report
        from polycompress.report.run import write_report
    except ModuleNotFoundError as error:
        raise MissingExtraError("polycompress report", "report") from error

    is_run = (directory / "config.json").exists() or not directory.is_dir()
    shown, page = write_report(directory, out) if is_run else write_results_report(directory, out)
    if json:
        console.print_json({"page": str(page), **shown.as_dict()})
    else:
        console.print_line(f"written to {page}")
