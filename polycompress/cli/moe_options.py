"""Options that the commands of ``polycompress moe`` share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from polycompress.errors import InputError

if TYPE_CHECKING:
    from polycompress.moe.config import Routing
    from polycompress.pipelines.experts.request import ExpertSettings

Families = Annotated[
    str,
    typer.Option(
        "--families",
        metavar="PRESET|FILE",
        help="`glottolog-branch`, `glottolog-family`, `apollo`, or a file with a language and its family on each line, "
        "a tab between.",
    ),
]
Layers = Annotated[
    int | None, typer.Option("--layers", metavar="N", help="The last N layers have experts. [default: 2]")
]
LayerList = Annotated[
    str | None,
    typer.Option("--layer-list", metavar="N,...", help="Instead, these layers, counted from 0."),
]
TopK = Annotated[
    int | None, typer.Option("--top-k", metavar="K", help="Experts that a token goes to. [default: 2]")
]
NoNormalise = Annotated[
    bool,
    typer.Option(
        "--no-normalise",
        help="Do not scale the weights of a token's experts to sum to 1 (as the paper; the model then begins with a "
        "fraction of its networks' output).",
    ),
]
Routing_ = Annotated[
    str,
    typer.Option(
        "--routing",
        help="At inference: `plain` (the router alone) or `forced` (a family's expert is among a token's wherever the "
        "language is given).",
    ),
]


def expert_settings(
    layers: int | None, layer_list: str | None, top_k: int | None, no_normalise: bool, routing: str, seed: int
) -> ExpertSettings:
    """What was asked for, checked.

    Raises:
        InputError: A value is wrong.
    """
    from polycompress.pipelines.experts.request import ExpertSettings

    return ExpertSettings(
        layers=layers,
        layer_list=() if layer_list is None else layer_numbers(layer_list),
        top_k=top_k,
        normalise=not no_normalise,
        routing=cast("Routing", routing),  # the settings check it
        seed=seed,
    )


def layer_numbers(text: str) -> tuple[int, ...]:
    """Numbers from 0 on, joined by commas.

    Raises:
        InputError: Something else stands there.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise InputError(
            f"--layer-list {text[:60]!r}: write layers counted from 0, joined by commas, such as 10,11"
        )
    return tuple(map(int, parts))
