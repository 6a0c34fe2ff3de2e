"""``polycompress report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polycompress.cli import console
from polycompress.cli.options import Json
from polycompress.errors import MissingExtraError


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a training run.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The page. [default: report.html in RUN]")
    ] = None,
    json: Json = False,
) -> None:
    """Show a training run, finished or not, as one HTML page: loss, learning rate, speed, languages, settings.

    The page stands alone: nothing is loaded from anywhere, and it can be sent as it is.

    Examples:
        polycompress report run

        polycompress report run --out run.html
    """
    try:
        from polycompress.report.run import write_report
    except ModuleNotFoundError as error:
        raise MissingExtraError("polycompress report", "report") from error

    shown, page = write_report(run, out)
    if json:
        console.print_json({"page": str(page), **shown.as_dict()})
    else:
        console.print_line(f"written to {page}")
