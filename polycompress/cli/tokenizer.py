"""``polycompress tokenizer``: new tokenizers, new pieces for old ones, two compared."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer

from polycompress.cli import console
from polycompress.cli.options import (
    Corpus,
    DryRun,
    Field,
    Json,
    Langs,
    Model,
    NamedCorpus,
    Out,
    OutIfDone,
    Overwrite,
    joined,
)
from polycompress.cli.tokenizer_view import show

if TYPE_CHECKING:
    from polycompress.pipelines.tokenizers.result import TokenizerResult

HELP: Final = """Train a tokenizer, give a model's own tokenizer new pieces, or compare two.

For languages whose words a model splits to shreds. Pieces are found in one part of your text, chosen by what they
save in another and judged on a third.

Examples:
    polycompress tokenizer extend demo --langs yo --corpus yo=yo.txt.gz --pieces 5000 --out tok/

    polycompress tokenizer train --corpus yo=yo.txt.gz --corpus ig=ig.txt.gz --size 20000 --out tok/

    polycompress tokenizer compare demo tok/ --corpus yo=more.txt --check en
"""
"""Of the group."""

Exponent = Annotated[
    float,
    typer.Option(
        "--exponent",
        help="Balance of the languages: 1 by their amounts of text, 0 all equal.",
    ),
]
Checks = Annotated[
    list[str],
    typer.Option(
        "--check",
        metavar="LANG[=PATTERN]",
        help="A language whose segmentation is compared, on text or on its built-in word frequencies. May be repeated.",
    ),
]


def train(
    corpus: NamedCorpus,
    size: Annotated[int, typer.Option("--size", help="Tokens in all.")],
    out: Out,
    kind: Annotated[
        str, typer.Option("--type", help="`unigram`, `bpe`, `byte-bpe` or `wordpiece`.")
    ] = "unigram",
    exponent: Exponent = 0.3,
    field: Field = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Train a new tokenizer on text of some languages.

    The same text gives the same tokenizer. Fertility is reported on a twentieth of the text that was not trained on.

    Examples:
        polycompress tokenizer train --corpus yo=yo.txt.gz --corpus ig=ig.txt.gz --size 20000 --out tok/

        polycompress tokenizer train --corpus sw='sw/*.txt' --size 8000 --type wordpiece --out tok-sw/
    """
    from polycompress.pipelines.tokenizer import train_tokenizer

    with console.progress_bars() as tell:
        result = train_tokenizer(
            corpus,
            size=size,
            out=out,
            kind=kind,
            exponent=exponent,
            field=field,
            overwrite=overwrite,
            progress=tell,
            command=["polycompress", *sys.argv[1:]],
        )
    _tell(result, json)


def extend(
    model: Model,
    langs: Langs,
    corpus: Corpus,
    pieces: Annotated[int, typer.Option("--pieces", help="New ones, at most.")],
    out: OutIfDone = None,
    check: Checks = [],  # noqa: B006
    exponent: Exponent = 0.3,
    field: Field = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Give a model's own tokenizer new pieces for some languages.

    Old tokens keep their ids, scores and merges; new pieces take the ids behind them. A text in which no new piece is
    used is cut as before; by how much other languages change is reported (--check; by default five large ones).

    Examples:
        polycompress tokenizer extend demo --langs yo --corpus yo=yo.txt.gz --pieces 5000 --out tok/

        polycompress tokenizer extend demo --langs yo --corpus yo=yo.txt.gz --pieces 5000 --dry-run

        polycompress tokenizer extend demo --langs yo,ig --corpus yo=yo.txt.gz --corpus ig=ig.txt.gz --pieces 10000 \
--check de=de.txt.gz --out tok/
    """
    from polycompress.pipelines.extend_tokenizer import extend_tokenizer

    with console.progress_bars() as tell:
        result = extend_tokenizer(
            model,
            langs=joined(langs),
            corpus=corpus,
            pieces=pieces,
            out=out,
            check=check,
            exponent=exponent,
            field=field,
            overwrite=overwrite,
            dry_run=dry_run,
            progress=tell,
            command=["polycompress", *sys.argv[1:]],
        )
    _tell(result, json)
    if dry_run and not json:
        console.print_line("nothing was written (--dry-run)")


def compare(
    before: Annotated[
        str, typer.Argument(metavar="BEFORE", help="A model or tokenizer directory, or `demo`.")
    ],
    after: Annotated[str, typer.Argument(metavar="AFTER", help="Another.")],
    corpus: Corpus = [],  # noqa: B006
    check: Checks = [],  # noqa: B006
    field: Field = None,
    json: Json = False,
) -> None:
    """Compare two tokenizers: tokens per word, tokens in common, texts that are cut otherwise.

    Examples:
        polycompress tokenizer compare demo tok/ --corpus yo=more.txt --check en

        polycompress tokenizer compare demo tok/ --check de=de.txt.gz --json
    """
    from polycompress.pipelines.tokenizer import compare_tokenizers

    _tell(compare_tokenizers(before, after, corpus=corpus, check=check, field=field), json)


def _tell(result: TokenizerResult, json: bool) -> None:
    if json:
        console.print_json(result.as_dict())
    else:
        show(result)
