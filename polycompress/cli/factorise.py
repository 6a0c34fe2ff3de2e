"""``polycompress factorise``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, cast

import typer

from polycompress.cli import console
from polycompress.cli.options import CountsFiles, Json, Model, OutIfDone, Overwrite, SingularValues, Weights

if TYPE_CHECKING:
    from polycompress.embeddings.factorising import Split
    from polycompress.pipelines.factorise import FactoriseResult


def factorise(
    model: Model,
    rank: Annotated[
        int, typer.Option("--rank", metavar="R", help="Coordinates of a token, from 1 to the table's width.")
    ],
    out: OutIfDone = None,
    split: SingularValues = "balanced",
    weights: Weights = [],  # noqa: B006  typer reads the default, nothing changes it
    counts: CountsFiles = [],  # noqa: B006
    overwrite: Overwrite = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show sizes and errors, and write nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Factorise a model's table: each token gets R coordinates over R rows that all tokens share.

    The best factors of that rank in the mean square, by singular value decomposition; everything else stays as it is.
    --counts reports the error for each of its languages, --weights spares them as well. The result loads after
    `import polycompress.auto`, and in all commands here.

    Examples:
        polycompress factorise demo --rank 128 --out demo-128

        polycompress factorise demo --rank 100 --split paper --weights de.npz --dry-run
    """
    from polycompress.pipelines.factorise import factorise_model

    with console.progress_bars() as progress:
        result = factorise_model(
            model,
            rank=rank,
            out=out,
            split=cast("Split", split),  # the pipeline checks it
            weights=weights,
            counts=counts,
            overwrite=overwrite,
            dry_run=dry_run,
            progress=progress,
            command=["polycompress", *sys.argv[1:]],
        )
    if json:
        console.print_json(result.as_dict())
    else:
        _show(result)


def _show(result: FactoriseResult) -> None:
    before, after = result.sizes["before"], result.sizes["after"]
    rows = [
        (name, form(before[key]), form(after[key]), console.percent(after[key] / max(1, before[key])))
        for name, key, form in (
            ("embedding parameters", "embedding_parameters", console.millions),
            ("all parameters", "parameters", console.millions),
            ("weights", "bytes", console.megabytes),
        )
    ]
    title = f"{result.source}: {result.rows:,} tokens x {result.width:,} at rank {result.rank:,}"
    console.print_facts(rows, title, ("", "before", "after", ""))
    errors = {"all tokens alike": result.overall, **result.languages}
    console.print_facts(
        [(name, console.percent(error.relative), f"{error.cosine:.4f}") for name, error in errors.items()],
        header=("tokens", "relative error", "mean cosine"),
    )
    for note in result.notes:
        console.print_line(f"note: {note}")
    console.print_line(
        "nothing was written (--dry-run)" if result.out is None else f"written to {result.out}"
    )
