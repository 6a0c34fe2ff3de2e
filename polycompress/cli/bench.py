"""``polycompress bench``."""

from __future__ import annotations

import json as json_
import sys
from pathlib import Path
from typing import Annotated

import typer

from polycompress.cli import console
from polycompress.cli.options import Json, Overwrite, Threads
from polycompress.errors import InputError, MissingExtraError


def bench(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Directories of models, runs or exported graphs, `demo`, or `owner/name[@revision]` on the Hugging "
            "Face hub. The others are compared with the first.",
        ),
    ],
    batch: Annotated[
        str, typer.Option("--batch", metavar="N,...", help="Texts of a batch; 1 is always measured.")
    ] = "1,8,32",
    length: Annotated[str, typer.Option("--length", metavar="N,...", help="Tokens of each text.")] = "32,128",
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="NAME,...",
            help="`fp32`, `bf16`: what weights are converted to. [default: both where the device has them]",
        ),
    ] = "",
    rounds: Annotated[
        int, typer.Option("--rounds", help="Turns of each size; at batch 1 ten times as many.")
    ] = 5,
    threads: Threads = None,
    device: Annotated[str, typer.Option("--device", help="`auto`, `cpu` or `cuda`.")] = "auto",
    body: Annotated[bool, typer.Option("--body", help="Leave heads out.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also keep everything as JSON.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Compare models on this machine: parameters, bytes, load time, private memory, latency, tokens a second.

    The models take turns in one process, and ratios are those of single turns, so they hold where other work slows all
    of them. Load time and memory are those of fresh processes.

    Examples:
        polycompress bench demo student

        polycompress bench demo small smaller --batch 1,8 --length 64 --precision fp32 --json
    """
    from polycompress.cli.bench_view import show_bench
    from polycompress.modeldir.atomic import atomic_file, check_output_file

    if out is not None:
        check_output_file(out, overwrite=overwrite)
    batches, lengths = whole_numbers("--batch", batch), whole_numbers("--length", length)
    precisions = [name.strip() for name in precision.split(",") if name.strip()] or None
    try:
        from polycompress.cli.determinism import use_threads
        from polycompress.pipelines.bench import bench as run
    except ModuleNotFoundError as error:
        raise MissingExtraError("polycompress bench", "train") from error
    use_threads(threads)
    with console.progress_bars() as progress:
        found = run(
            models, batches=batches, lengths=lengths, precisions=precisions, rounds=rounds, device=device, body=body,
            progress=progress, command=["polycompress", *sys.argv[1:]],
        ).as_dict()  # fmt: skip
    if out is not None:
        with atomic_file(out, "w") as file:
            file.write(json_.dumps(found, ensure_ascii=True, indent=1) + "\n")
    if json:
        console.print_json(found)
        return
    show_bench(found)
    if out is not None:
        console.print_line(f"written to {out}")


def whole_numbers(option: str, text: str) -> list[int]:
    """Numbers joined by commas.

    Raises:
        InputError: Something else stands there.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 and int(part) for part in parts):
        raise InputError(f"{option} {text!r}: write whole numbers from 1 on, joined by commas, such as 8,32")
    return [int(part) for part in parts]
