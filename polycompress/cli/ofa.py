"""``polycompress ofa MODEL``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from polycompress.cli import console
from polycompress.cli.options import (
    Corpus,
    DryRun,
    Field,
    Json,
    Model,
    OutIfDone,
    Overwrite,
    Seed,
    SingularValues,
    Weights,
    codes_option,
    joined,
)

HELP: Final = """Give a model new tokens for languages that it splits to shreds, or make a factorised model plain.

Tokens that the model has keep their rows; rows of the others are averages of its most similar tokens in a space of word
vectors (OFA), or made in one of five other ways. With --rank the table is factorised. Nothing is trained: go on with
`polycompress mlm` or `bistil`.

Examples:
    polycompress ofa demo --extend yo,ig --corpus yo=yo.txt.gz --corpus ig=ig.txt.gz --vectors aligned/ --out demo-plus

    polycompress ofa demo --tokenizer tok/ --vectors aligned/ --rank 100 --out demo-ofa100

    polycompress ofa export demo-ofa100 --dense --out plain

With fewer other languages: trim first, to the new ones too so that what the model knows of them stays, then extend.

    polycompress trim demo --langs en,yo,ig --corpus yo=yo.txt.gz --corpus ig=ig.txt.gz --out small

    polycompress ofa small --extend yo,ig --corpus yo=yo.txt.gz --corpus ig=ig.txt.gz --vectors aligned/ --out plus
"""
"""Of the group."""


def ofa(
    model: Model,
    tokenizer: Annotated[
        Path | None,
        typer.Option("--tokenizer", metavar="DIR", help="The tokenizer that the model gets."),
    ] = None,
    extend: Annotated[
        list[str],
        codes_option(
            "--extend",
            help="Instead: languages that the model's own tokenizer gets new pieces for, found in --corpus.",
        ),
    ] = [],  # noqa: B006
    corpus: Corpus = [],  # noqa: B006  typer reads the default, nothing changes it
    pieces: Annotated[int, typer.Option("--pieces", help="New ones, at most, with --extend.")] = 5000,
    vectors: Annotated[
        list[str],
        typer.Option(
            "--vectors",
            metavar="[LANG=]PATH",
            help="Word vectors of one space: what `polycompress vectors align` wrote, or files. May be repeated.",
        ),
    ] = [],  # noqa: B006
    words: Annotated[
        int | None,
        typer.Option(
            "--words", help="Use so many of each language's words, the most frequent. [default: all]"
        ),
    ] = None,
    init: Annotated[
        str,
        typer.Option(
            "--init",
            help="How rows are made that the model lacks: `ofa`, `wechsel` (by --vectors), `focus` (trains vectors of "
            "tokens on --corpus), `pieces` (mean of the model's own pieces of the token), `covariance`, `random`.",
        ),
    ] = "ofa",
    rank: Annotated[
        int | None, typer.Option("--rank", metavar="R", help="Factorise the table. [default: it stays plain]")
    ] = None,
    split: SingularValues = "balanced",
    weights: Weights = [],  # noqa: B006
    neighbours: Annotated[
        int, typer.Option("--neighbours", help="Similar tokens that an average takes, at most.")
    ] = 10,
    temperature: Annotated[
        float, typer.Option("--temperature", help="Of their weights: near 0 the nearest takes all.")
    ] = 0.1,
    no_fold: Annotated[
        bool, typer.Option("--no-fold", help="Copy no token that differs in upper and lower case.")
    ] = False,
    check: Annotated[
        list[str],
        typer.Option(
            "--check",
            metavar="LANG[=PATTERN]",
            help="Another language whose segmentation is compared, with --extend. May be repeated. [default: en, "
            "de, fr, es, ru]",
        ),
    ] = [],  # noqa: B006
    field: Field = None,
    seed: Seed = 0,
    force: Annotated[
        bool,
        typer.Option("--force", help="Go on although most of a language's new tokens are drawn at random."),
    ] = False,
    out: OutIfDone = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Give a model new tokens, their rows made of those that it has.

    With --extend all old tokens keep their ids and rows. With --tokenizer the model gets another tokenizer: tokens that
    it has are copied, special ones by their role. Copied rows are the source's bit for bit, and so is everything else.

    Examples:
        polycompress ofa demo --extend yo,ig --corpus yo=yo.txt.gz --corpus ig=ig.txt.gz --init pieces --out demo-plus

        polycompress ofa demo --tokenizer tok/ --vectors aligned/ --rank 100 --dry-run
    """
    from polycompress.pipelines.ofa import ofa as run

    with console.progress_bars() as progress:
        result = run(
            model,
            out=out,
            tokenizer=tokenizer,
            extend=joined(extend),
            corpus=corpus,
            pieces=pieces,
            check=check,
            field=field,
            vectors=vectors,
            words=words,
            init=init,
            rank=rank,
            split=split,  # type: ignore[arg-type]  # the pipeline checks it
            weights=weights,
            neighbours=neighbours,
            temperature=temperature,
            fold_case=not no_fold,
            seed=seed,
            force=force,
            overwrite=overwrite,
            dry_run=dry_run,
            progress=progress,
            command=["polycompress", *sys.argv[1:]],
        )
    if json:
        console.print_json(result.as_dict())
    else:
        from polycompress.cli.ofa_view import show

        show(result)
