"""``polycompress moe upcycle``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from polycompress.cli import console
from polycompress.cli.moe_options import (
    Families,
    LayerList,
    Layers,
    NoNormalise,
    Routing_,
    TopK,
    expert_settings,
)
from polycompress.cli.options import (
    Corpus,
    CountsFiles,
    DryRun,
    Field,
    Json,
    Model,
    OutIfDone,
    Overwrite,
    Seed,
    codes_option,
    joined,
)


def upcycle(
    model: Model,
    langs: Annotated[
        list[str],
        codes_option(
            "--langs",
            help="Languages to serve, joined by commas: codes, names, families. [default: all of a FILE of --families]",
        ),
    ] = [],  # noqa: B006
    out: OutIfDone = None,
    families: Families = "glottolog-branch",
    unknown: Annotated[
        str | None,
        typer.Option("--unknown", metavar="FAMILY", help="Of languages in no family. [default: an error]"),
    ] = None,
    experts: Annotated[
        int | None,
        typer.Option(
            "--experts",
            metavar="N",
            help="How many: several for a large family, one for several small ones. [default: one for each family]",
        ),
    ] = None,
    layers: Layers = None,
    layer_list: LayerList = None,
    top_k: TopK = None,
    no_normalise: NoNormalise = False,
    routing: Routing_ = "plain",
    noise: Annotated[
        float,
        typer.Option(
            "--noise",
            help="Of each expert, as a share of its weights' standard deviation; 0: exact copies.",
        ),
    ] = 0.01,
    corpus: Corpus = [],  # noqa: B006  typer reads the default, nothing changes it
    counts: CountsFiles = [],  # noqa: B006
    field: Field = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Give a model experts: its last layers get a feed-forward network for each family of languages.

    Each begins as a copy of the layer's own with a little noise, and routers are drawn: the model does nearly what it
    did, until training makes the difference. How much text there is of each language (--corpus or --counts, else the
    same of all) says how --experts are shared out; small families of one tree share first.

    Examples:
        polycompress moe upcycle demo --langs de,nl,sv,fr,es,it,sw,zu,ru,uk --out moe

        polycompress moe upcycle demo --langs Germanic,Romance,Bantu --experts 4 --layers 3 --dry-run
    """
    from polycompress.cli.moe_view import show_end, show_plan, show_sizes
    from polycompress.pipelines.moe_upcycle import moe_upcycle

    settings = expert_settings(layers, layer_list, top_k, no_normalise, routing, seed)
    with console.progress_bars() as progress:
        result = moe_upcycle(
            model,
            out=out,
            langs=joined(langs),
            families=families,
            unknown=unknown,
            experts=experts,
            corpus=corpus,
            counts=counts,
            field=field,
            settings=settings,
            noise=noise,
            overwrite=overwrite,
            dry_run=dry_run,
            progress=progress,
            command=["polycompress", *sys.argv[1:]],
        )
    if json:
        console.print_json(result.as_dict())
        return
    show_plan(result.plan, result.moe)
    show_sizes(result.sizes, result.source)
    show_end(result.notes, result.out)
