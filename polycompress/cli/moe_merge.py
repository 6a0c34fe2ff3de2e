"""``polycompress moe merge``."""

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
from polycompress.cli.options import DryRun, Json, OutIfDone, Overwrite, Seed


def merge(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Plain models of one shape and tokenizer, two or more."),
    ],
    out: OutIfDone = None,
    family: Annotated[
        list[str],
        typer.Option(
            "--family",
            metavar="NAME[=CODES]",
            help="Of each model, in their order: its family and the languages it is for. [default: what manifests say]",
        ),
    ] = [],  # noqa: B006  typer reads the default, nothing changes it
    families: Families = "glottolog-branch",
    shared: Annotated[
        str,
        typer.Option(
            "--shared",
            metavar="mean|MODEL",
            help="What all share: `mean` of the models', or that of one, by its name here or its family.",
        ),
    ] = "mean",
    layers: Layers = None,
    layer_list: LayerList = None,
    top_k: TopK = None,
    no_normalise: NoNormalise = False,
    routing: Routing_ = "plain",
    seed: Seed = 0,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Make one model of several: in the last layers each one's feed-forward network becomes an expert.

    Everything else is averaged, which suits models that began alike: students of one teacher, tuned for a family each.
    Models of one family become several experts of it. Routers are drawn, and have to be trained.

    Examples:
        polycompress moe merge romance-student germanic-student bantu-student --out moe

        polycompress moe merge a b --family Romance=fr,es --family Germanic=de,nl --shared a --dry-run
    """
    from polycompress.cli.moe_view import show_end, show_plan, show_sizes
    from polycompress.pipelines.moe_merge import moe_merge

    settings = expert_settings(layers, layer_list, top_k, no_normalise, routing, seed)
    with console.progress_bars() as progress:
        result = moe_merge(
            models,
            out=out,
            family=family,
            families=families,
            shared=shared,
            settings=settings,
            overwrite=overwrite,
            dry_run=dry_run,
            progress=progress,
            command=["polycompress", *sys.argv[1:]],
        )
    if json:
        console.print_json(result.as_dict())
        return
    show_plan(result.plan, result.moe)
    show_sizes(result.sizes, f"{', '.join(result.sources)}; shared: {result.shared}")
    show_end((), result.out)
