"""``polycompress moe routes``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from polycompress.cli import console
from polycompress.cli.options import Corpus, CorpusLangs, Device, Field, Json, Model, Threads, joined
from polycompress.cli.training_command import training_needed


def routes(
    model: Model,
    corpus: Corpus,
    langs: CorpusLangs = [],  # noqa: B006
    texts: Annotated[int, typer.Option("--texts", metavar="N", help="Of each language, the first N.")] = 200,
    held_out_only: Annotated[
        bool, typer.Option("--held-out-only", help="Only texts that `polycompress count` leaves out.")
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="REPORT|MODEL",
            help="What --json said of an earlier state, or that state itself: say how far routing has moved since.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", help="Draw it: .png, .svg or .pdf (extra `report`)."),
    ] = None,
    max_length: Annotated[
        int, typer.Option("--max-length", help="Tokens of a text; the rest is cut off.")
    ] = 128,
    field: Field = None,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Show which experts the tokens of each language reach, layer by layer. Nothing is written but the picture.

    Shares, a column an expert, are of the choices made for a language's tokens. `own`: tokens that reach an expert of
    their family; `entropy`: of the shares, in bits, 0 where all tokens go one way; `router`: its doubt about one token.

    Examples:
        polycompress moe routes moe-trained --corpus de=de.txt.gz --corpus sw=sw.txt.gz --plot routes.png

        polycompress moe routes moe-trained --corpus 'de=texts/*.jsonl' --corpus sw=sw.txt --against moe --json
    """
    with training_needed("moe routes"):
        from polycompress.cli.determinism import use_threads

        use_threads(threads)
    from polycompress.pipelines.moe_routes import moe_routes

    with console.progress_bars() as progress:
        result = moe_routes(
            model,
            corpus=corpus,
            langs=joined(langs),
            texts=texts,
            held_out_only=held_out_only,
            max_length=max_length,
            against=against,
            plot=plot,
            field=field,
            device=device,
            tell=progress,
        )
    if json:
        console.print_json(result.as_dict())
        return
    from polycompress.cli.moe_training_view import show_routes

    show_routes(result)
