"""``polycompress moe extract``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from polycompress.cli import console
from polycompress.cli.options import Corpus, DryRun, Field, Json, Model, OutIfDone, Overwrite


def extract(
    model: Model,
    family: Annotated[
        str, typer.Option("--family", metavar="NAME", help="By its name or an everyday one (`Bantu`).")
    ],
    out: OutIfDone = None,
    expert: Annotated[
        int | None,
        typer.Option("--expert", metavar="N", help="Which, of a family that has several."),
    ] = None,
    trim: Annotated[
        bool, typer.Option("--trim", help="Cut the vocabulary to the family's languages as well.")
    ] = False,
    corpus: Corpus = [],  # noqa: B006  typer reads the default, nothing changes it
    field: Field = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Take one family's model out of one with experts: a plain model that needs no polycompress.

    It computes what the source does where every token goes to that expert alone. --trim does as `polycompress trim`
    does, with --corpus for some or all of the family's languages, else with the built-in word frequencies.

    Examples:
        polycompress moe extract moe --family Romance --out romance

        polycompress moe extract moe --family Bantu --trim --corpus sw='sw/*.txt' --corpus zu='zu/*.txt' --out bantu
    """
    from polycompress.cli.moe_view import show_end, show_sizes
    from polycompress.pipelines.moe_extract import moe_extract

    with console.progress_bars() as progress:
        result = moe_extract(
            model,
            family=family,
            out=out,
            expert=expert,
            trim=trim,
            corpus=corpus,
            field=field,
            overwrite=overwrite,
            dry_run=dry_run,
            progress=progress,
            command=["polycompress", *sys.argv[1:]],
        )
    if json:
        console.print_json(result.as_dict())
        return
    names = ", ".join(language.name for language in result.languages) or "no language"
    show_sizes(result.sizes, f"{result.source}, its {result.family} expert ({result.expert}): {names}")
    if result.trim is not None:
        from polycompress.cli.trim import show_trim

        show_trim(result.trim)
    show_end(result.notes, result.out)
