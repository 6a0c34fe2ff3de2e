"""``polycompress ofa export``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from polycompress.cli import console
from polycompress.cli.options import Json, Out, Overwrite
from polycompress.errors import InputError


def export(
    model: Annotated[str, typer.Argument(metavar="DIR", help="A model with a factorised table.")],
    out: Out,
    dense: Annotated[
        bool, typer.Option("--dense", help="With the table that its factors stand for.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write a factorised model so that plain transformers loads it, with the same outputs.

    Examples:
        polycompress ofa export demo-ofa100 --dense --out plain

        polycompress ofa export demo-128 --dense --out plain --overwrite --json
    """
    if not dense:
        raise InputError(
            "ofa export writes one form so far: give --dense for a plain table; the directory itself is the other"
        )
    from polycompress.pipelines.dense_export import export_dense

    with console.progress_bars() as progress:
        result = export_dense(
            model, out=out, overwrite=overwrite, progress=progress, command=["polycompress", *sys.argv[1:]]
        )
    if json:
        console.print_json(result.as_dict())
        return
    before, after = result.sizes["before"], result.sizes["after"]
    rows = [
        ("all parameters", console.millions(before["parameters"]), console.millions(after["parameters"])),
        ("weights", console.megabytes(before["bytes"]), console.megabytes(after["bytes"])),
    ]
    console.print_facts(rows, f"{result.source}: rank {result.rank} written out", ("", "before", "after"))
    console.print_line(f"written to {result.out}")
