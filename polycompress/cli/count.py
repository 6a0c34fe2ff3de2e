"""``polycompress count``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from polycompress.cli import console
from polycompress.cli.options import Json, Model, Overwrite, codes_option, joined

if TYPE_CHECKING:
    from polycompress.pipelines.count import CountResult


_FIGURES = {
    "texts": "texts",
    "tokens": "tokens",
    "characters": "characters",
    "bytes": "bytes",
    "distinct": "distinct_tokens",
    "seen once": "seen_once",
    "unseen": "unseen_share",
    "texts held out": "held_out_texts",
}


def count(
    model: Model,
    lang: Annotated[
        list[str],
        codes_option("--lang", "--langs", help="Languages, joined by commas."),
    ],
    corpus: Annotated[
        list[str],
        typer.Option(
            "--corpus",
            metavar="[LANG=]PATTERN",
            help="Text, .jsonl, .csv, .tsv or .parquet, also .gz .zst .bz2 .xz; quote the pattern. Or a data set of "
            "the Hugging Face hub: hf://owner/name@COMMIT, with :config and #split behind it. May be repeated.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The counts file to write (.npz).")],
    field: Annotated[
        str | None, typer.Option("--field", metavar="NAME", help="Column of the text. [default: text]")
    ] = None,
    engine: Annotated[
        Literal["process", "cores", "ray"],
        typer.Option(
            "--engine",
            metavar="ENGINE",
            help="`process`, `cores` or `ray` (extra `ray`); the counts are the same.",
        ),
    ] = "cores",
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", help="Processes or actors. [default: one a core]")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="HOST:PORT", help="Of a Ray cluster. [default: a local Ray]"),
    ] = None,
    clean: Annotated[
        str, typer.Option("--clean", metavar="RULES", help="Of nfc, control, collapse; joined by commas.")
    ] = "",
    sample: Annotated[
        float, typer.Option("--sample", metavar="SHARE", help="Read this share of the texts, chosen by hash.")
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="Of the sample.")] = 0,
    identify: Annotated[
        Path | None,
        typer.Option("--identify", metavar="FILE", help="fastText model: count texts in the language only."),
    ] = None,
    identify_threshold: Annotated[
        float, typer.Option("--identify-threshold", metavar="P", help="Probability that it must give.")
    ] = 0.5,
    deduplicate: Annotated[
        bool, typer.Option("--deduplicate", help="Count each text once, over all files of its language.")
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Do without damaged files instead of failing.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Count a corpus of any size once, for trimming and inspecting models with the same tokenizer.

    What is finished is kept in FILE.parts: the same command run again goes on where an earlier one was interrupted.

    Examples:
        polycompress count demo --lang sw --corpus 'shards/*.jsonl.zst' --field text --out counts.npz

        polycompress count demo --lang de,en --corpus de='de/*.txt.gz' --corpus en='en/*.txt.gz' --out counts.npz
    """
    from polycompress.corpora import Reading, parse_cleaning
    from polycompress.pipelines.count import count_files

    with console.progress_bars() as progress:
        result = count_files(
            model,
            joined(lang),
            corpus,
            out,
            engine=engine,
            reading=Reading(field=field, cleaning=parse_cleaning(clean), sample=sample, seed=seed),
            identify=identify,
            identify_threshold=identify_threshold,
            workers=workers,
            deduplicate=deduplicate,
            skip_bad=skip_bad,
            address=address,
            overwrite=overwrite,
            progress=progress,
        )
    if json:
        console.print_json(result.as_dict())
    else:
        _show(result)


def _show(result: CountResult) -> None:
    figures = result.as_dict()["languages"]
    if len(figures) == 1:
        ((code, own),) = figures.items()
        console.print_facts([(name, _cell(own, key)) for name, key in _FIGURES.items()], code)
    else:
        names = [name for name in _FIGURES if name not in ("characters", "texts held out")]
        console.print_facts(
            [(code, *(_cell(own, _FIGURES[name]) for name in names)) for code, own in figures.items()],
            header=("language", *names),
        )
    for damage in result.damaged:
        console.print_line(f"left out: {damage.describe()}")
    if result.dropped:
        dropped = ", ".join(f"{reason} {number:,}" for reason, number in result.dropped.items())
        console.print_line(f"texts left out: {dropped}")
    kept = f", {result.units_kept} of {result.units} parts from an earlier run" if result.units_kept else ""
    speed = result.megabytes_per_second
    pace = f" in {result.seconds:.1f} s ({speed:.1f} MB/s)" if speed is not None else ""
    console.print_line(
        f"{console.megabytes(result.bytes_counted)} of text counted{pace}{kept}; written to {result.out}"
    )
    console.print_line(
        "unseen: share of new text's tokens that are expected never to have occurred (Good-Turing)"
    )


def _cell(figures: Mapping[str, Any], key: str) -> str:
    value = figures[key]
    if value is None:
        return "-"
    return console.percent(value, 3) if key == "unseen_share" else console.number(value)
