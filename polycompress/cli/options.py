"""Options that several commands share, spelt once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A directory, the word `demo`, or `owner/name[@revision]` on the Hugging Face hub.",
    ),
]
Langs = Annotated[
    str,
    typer.Option(
        "--langs", metavar="CODES", help="Languages, joined by commas: `de`, `deu`, `deu-Latn` or `German`."
    ),
]
Corpus = Annotated[
    list[str],
    typer.Option(
        "--corpus",
        metavar="[LANG=]PATTERN",
        help="Text files, one text a line, or .jsonl, .csv, .tsv, .parquet; plain or .gz .zst .bz2 .xz; quote the "
        "pattern. May be repeated.",
    ),
]
Field = Annotated[
    str | None,
    typer.Option(
        "--field",
        metavar="NAME",
        help="Column of the text in .jsonl, .csv, .tsv and .parquet. [default: text]",
    ),
]
CountsFiles = Annotated[
    list[Path],
    typer.Option(
        "--counts",
        metavar="FILE",
        help="What `polycompress count` wrote, instead of a corpus. May be repeated.",
    ),
]
NoFrequencies = Annotated[
    bool, typer.Option("--no-frequencies", help="Do without the built-in word frequencies.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output, as the last step.")]
Full = Annotated[
    bool, typer.Option("--full", help="Also compare hidden states and logits on real text (extra `train`).")
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The directory to write.")]
