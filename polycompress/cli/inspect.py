"""``polycompress inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polycompress.cli import console
from polycompress.cli.options import Corpus, Json, Model, NoFrequencies

if TYPE_CHECKING:
    from polycompress.pipelines.inspect import Frontier, Inspection


def inspect(
    model: Model,
    langs: Annotated[
        str,
        typer.Option(
            "--langs", metavar="CODES", help="Languages whose frontier to measure, joined by commas."
        ),
    ] = "",
    corpus: Corpus = [],  # noqa: B006  typer reads the default, nothing changes it
    no_frequencies: NoFrequencies = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw the frontier (.png, .svg, .pdf).")
    ] = None,
    json: Json = False,
) -> None:
    """Show what a model is made of, and what each vocabulary size keeps of some languages.

    Examples:
        polycompress inspect demo

        polycompress inspect demo --langs de,tr,zh --plot frontier.png
    """
    from polycompress.pipelines.inspect import inspect as run

    with console.progress_bars() as progress:
        found = run(
            model, langs=langs, corpus=corpus, frequencies=not no_frequencies, plot=plot, progress=progress
        )
    if json:
        console.print_json(found.as_dict())
        return
    _show(found)
    if plot is not None and found.frontiers:
        console.print_line(f"frontier drawn to {plot}")


def _show(found: Inspection) -> None:
    total = sum(found.parameters.values())
    kind = ", ".join(found.architectures) or found.model_type
    console.print_facts(
        [
            *(
                (name, console.millions(count), console.percent(count / total))
                for name, count in found.parameters.items()
                if count
            ),
            ("all", console.millions(total), f"{console.megabytes(found.bytes)} {'/'.join(found.dtypes)}"),
        ],
        f"{found.name} ({kind})",
        ("parameters", "", ""),
    )
    console.print_line(f"tokenizer: {found.tokenizer_type}, {found.vocab:,} tokens")
    for oddity in found.oddities:
        console.print_line(f"  - {oddity}")
    for frontier in found.frontiers:
        _show_frontier(frontier)
    if len(found.frontiers) > 1 and found.together is not None:
        console.print_line(f"trimmed to all of these together: {found.together:,} tokens by default")
    for gap in found.gaps:
        console.print_line(f"\n{gap}")


def _show_frontier(frontier: Frontier) -> None:
    rows = [
        (
            console.number(point.size) + (" (default)" if point.size == frontier.default.size else ""),
            console.percent(point.coverage, 3),
            "-" if point.identical is None else console.percent(point.identical),
        )
        for point in frontier.points
    ]
    unit = "texts" if "lines" in frontier.texts_from else "words"
    console.print_facts(
        rows,
        f"{frontier.language.name} ({frontier.language.code})",
        ("tokens kept", "tokens covered", f"of {frontier.texts:,} held-out {unit} unchanged"),
    )
    if frontier.unseen is not None:
        console.print_line(
            f"about {console.percent(frontier.unseen, 2)} of new text's tokens never occurred in the corpus "
            "(Good-Turing)"
        )
