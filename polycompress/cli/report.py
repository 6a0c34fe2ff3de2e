"""``polycompress report``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from polycompress.cli import console
from polycompress.cli.options import Json
from polycompress.errors import MissingExtraError

logger = logging.getLogger(__name__)


def report(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="A run of a recipe, a training run, or what `eval --out` and `bench --out` wrote into one directory.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The page. [default: report.html in DIR]")
    ] = None,
    show: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser once it is written.")
    ] = False,
    before: Annotated[
        str | None,
        typer.Option(
            "--before",
            metavar="STAGE",
            help="Of a run of a recipe: only the stages before this one, and no times. It is how the stage "
            "itself makes its page.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show a run of a recipe, a training run, or results of evaluations and benchmarks, as one HTML page.

    Of a run of a recipe, finished or not: what was made from what, sizes, languages, scores by size, by speed and by
    loyalty, curves, experts, where everything came from, and the commands to do it again. Of a training run: loss,
    learning rate, speed, languages, settings. Of results: a heat map of languages and tasks, and the same pictures. The
    page stands alone: nothing is loaded from anywhere, and it can be sent as it is.

    Examples:
        polycompress report runs/swahili-ner --open

        polycompress report results --out results.html
    """
    try:
        from polycompress.report.kinds import write_any_report
    except ModuleNotFoundError as error:
        raise MissingExtraError("polycompress report", "report") from error

    shown, page = write_any_report(directory, out, before=before)
    if json:
        console.print_json({"page": str(page), **shown.as_dict()})
    else:
        console.print_line(f"written to {page}")
    if show:
        import webbrowser

        address = page.absolute().as_uri()
        if not webbrowser.open(address):
            logger.warning("no browser could be opened here; the page is at %s", address)
