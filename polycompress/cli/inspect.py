"""``polycompress inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polycompress.cli import console
from polycompress.cli.options import (
    Corpus,
    CountsFiles,
    Field,
    Json,
    Model,
    NoFrequencies,
    codes_option,
    joined,
)


def inspect(
    model: Model,
    langs: Annotated[
        list[str],
        codes_option(
            "--langs", help="Languages to look at, joined by commas; those that --corpus names are added."
        ),
    ] = [],  # noqa: B006
    corpus: Corpus = [],  # noqa: B006  typer reads the default, nothing changes it
    field: Field = None,
    counts: CountsFiles = [],  # noqa: B006
    no_frequencies: NoFrequencies = False,
    mixture: Annotated[
        list[str],
        codes_option("--mixture", help="Which of these languages was this BPE tokenizer trained on?"),
    ] = [],  # noqa: B006
    merges: Annotated[
        int | None,
        typer.Option("--merges", metavar="N", help="Merges that --mixture looks at. [default: 3000]"),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the frontier (.png, .svg, .pdf).")
    ] = None,
    plot_overlap: Annotated[
        Path | None,
        typer.Option(
            "--plot-overlap", metavar="FILE", help="Draw what the languages share of the vocabulary."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show what a model is made of, how its vocabulary suits some languages, and what each size of it would keep.

    Examples:
        polycompress inspect demo

        polycompress inspect demo --langs de,tr,zh --corpus sw='sw.txt.gz' --plot frontier.png
    """
    from polycompress.cli.inspect_view import show_inspection
    from polycompress.pipelines.inspect import inspect as run

    with console.progress_bars() as progress:
        found = run(
            model,
            langs=joined(langs),
            corpus=corpus,
            field=field,
            counts=counts,
            frequencies=not no_frequencies,
            mixture=joined(mixture),
            merges=merges,
            plot=plot,
            plot_overlap=plot_overlap,
            progress=progress,
        )
    if json:
        console.print_json(found.as_dict())
        return
    show_inspection(found)
    if plot is not None and found.frontiers:
        console.print_line(f"frontier drawn to {plot}")
    if plot_overlap is not None and found.overlap is not None:
        console.print_line(f"overlap drawn to {plot_overlap}")
