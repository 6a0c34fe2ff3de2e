"""``polycompress ui``."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated, Final

import typer

from polycompress.cli import console

RUNS: Final = Path("runs")


def ui(
    runs: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUNS]",
            help="A directory of runs, results and models, or one of them. [default: runs]",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            metavar="MODEL",
            help="A further model to compare: a directory, `demo`, or `owner/name[@revision]`. May be repeated.",
        ),
    ] = [],  # noqa: B006  typer reads the default, nothing changes it
    port: Annotated[int, typer.Option("--port", help="0: any that is free.")] = 8420,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address, and open nothing.")
    ] = False,
) -> None:
    """Browse runs and compare two models on a text, on a page of this machine alone.

    The page lists the runs of recipes, training runs, results and models in a directory, shows their reports, and puts
    two models side by side: how each cuts a text, what it predicts, how long it takes. It is served on 127.0.0.1, loads
    nothing from elsewhere, and sends nothing. Tokens need no torch; predictions do (extra `train`).

    Examples:
        polycompress ui runs

        polycompress ui --model demo --model demo-de
    """
    from polycompress.ui.server import serve

    def ready(address: str) -> None:
        console.print_line(f"serving {address} (end with Ctrl-C)")
        if not no_browser:
            webbrowser.open(address)

    serve(runs if runs is not None or (model and not RUNS.is_dir()) else RUNS, model, port=port, ready=ready)
