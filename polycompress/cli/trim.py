"""``polycompress trim``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polycompress.cli import console
from polycompress.cli.options import (
    Corpus,
    CountsFiles,
    DryRun,
    Field,
    Full,
    Json,
    Langs,
    Model,
    NoFrequencies,
    Overwrite,
    codes_option,
    joined,
)
from polycompress.errors import InputError

if TYPE_CHECKING:
    from polycompress.pipelines.trim import TrimResult
    from polycompress.pipelines.trimming.planning import TrimPlan


def trim(
    model: Model,
    langs: Langs = [],  # noqa: B006  typer reads the default, nothing changes it
    each: Annotated[
        list[str],
        codes_option(
            "--each", help="One model for each: codes joined by commas, a family such as `Romance`, or `all`."
        ),
    ] = [],  # noqa: B006
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="The directory to write; with --each, `{code}` or `{iso}` stands in it.",
        ),
    ] = None,
    corpus: Corpus = [],  # noqa: B006
    field: Field = None,
    counts: CountsFiles = [],  # noqa: B006
    coverage: Annotated[
        float | None,
        typer.Option(
            "--coverage", help="Share of each language's expected tokens to keep. [default: 0.9999]"
        ),
    ] = None,
    size: Annotated[int | None, typer.Option("--size", help="Tokens to keep in all, instead.")] = None,
    min_count: Annotated[
        int | None, typer.Option("--min-count", help="Keep what a corpus holds so often, instead.")
    ] = None,
    min_share: Annotated[
        float | None,
        typer.Option("--min-share", help="Keep what has this relative frequency in any corpus, instead."),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option("--keep", metavar="FILE", help="Tokens or texts to keep, one a line.")
    ] = None,
    keep_regex: Annotated[
        list[str], typer.Option("--keep-regex", metavar="PATTERN", help="Keep tokens whose text fits.")
    ] = [],  # noqa: B006
    no_frequencies: NoFrequencies = False,
    pad_to_multiple_of: Annotated[
        int, typer.Option("--pad-to-multiple-of", help="Pad tables with rows that no token reaches.")
    ] = 1,
    full: Full = False,
    link: Annotated[bool, typer.Option("--link", help="Hard-link files that do not change.")] = False,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Cut a multilingual model to the languages you serve, exactly.

    Keeps the tokens those languages use, drops the other rows of the vocabulary tables, and changes nothing else. What
    is written loads with plain transformers, and carries a certificate that it behaves as before; where that fails,
    nothing is written.

    Examples:
        polycompress trim demo --langs de --out e5-de

        polycompress trim xlm-roberta-base --langs sw,en --corpus sw='swahili/*.txt.gz' --size 40000 --out xlmr-sw-en

        polycompress trim demo --each de,fr,tr,ja --out 'models/e5-{iso}'
    """
    command = ["polycompress", *sys.argv[1:]]
    if joined(each):
        from polycompress.cli.trim_each import run_each
        from polycompress.pipelines.trimming.request import TrimSettings, choose_limit

        run_each(
            model,
            each=joined(each),
            langs=joined(langs),
            out=out,
            corpus=corpus,
            field=field,
            counts=counts,
            settings=TrimSettings(
                limit=choose_limit(coverage, size, min_count, min_share),
                keep=keep,
                keep_regex=tuple(keep_regex),
                frequencies=not no_frequencies,
                pad_to_multiple_of=pad_to_multiple_of,
                full=full,
                overwrite=overwrite,
                link=link,
            ),
            dry_run=dry_run,
            json=json,
            command=command,
        )
        return
    from polycompress.pipelines.trim import trim as run

    if not joined(langs):
        raise InputError("no language was given; name some with --langs, or one model for each with --each")
    with console.progress_bars() as progress:
        result = run(
            model,
            langs=joined(langs),
            out=out,
            corpus=corpus,
            field=field,
            counts=counts,
            coverage=coverage,
            size=size,
            min_count=min_count,
            min_share=min_share,
            keep=keep,
            keep_regex=keep_regex,
            frequencies=not no_frequencies,
            pad_to_multiple_of=pad_to_multiple_of,
            full=full,
            link=link,
            overwrite=overwrite,
            dry_run=dry_run,
            progress=progress,
            command=command,
        )
    if json:
        console.print_json(result.as_dict())
    else:
        show_trim(result)
        where = "nothing was written (--dry-run)" if result.out is None else f"written to {result.out}"
        console.print_line(where)


def show_trim(result: TrimResult) -> None:
    """The plan, and the certificate of what was written."""
    show_plan(result.plan)
    if result.certificate is not None:
        from polycompress.cli.verify import show_certificate

        show_certificate(result.certificate)


def show_plan(plan: TrimPlan) -> None:
    """Sizes before and after, and what keeps the tokens."""
    before, after = plan.sizes["before"], plan.sizes["after"]
    rows = [
        (
            "tokens",
            console.number(before["vocab"]),
            console.number(after["vocab"]),
            _part(before, after, "vocab"),
        ),
        *(
            (name, form(before[key]), form(after[key]), _part(before, after, key))
            for name, key, form in (
                ("embedding parameters", "embedding_parameters", console.millions),
                ("all parameters", "parameters", console.millions),
                ("weights", "bytes", console.megabytes),
            )
        ),
    ]
    names = ", ".join(language.name for language in plan.languages)
    console.print_facts(
        rows,
        f"{plan.source} ({plan.model_type}, {plan.tokenizer_type}): {names}",
        ("", "before", "after", ""),
    )
    console.print_facts(
        [
            (
                language.name,
                console.percent(plan.coverage[language.code], 3),
                _unseen(plan.unseen[language.code]),
            )
            for language in plan.languages
        ],
        header=("language", "expected tokens kept", "never seen in the corpus"),
    )


def _part(before: Mapping[str, int], after: Mapping[str, int], key: str) -> str:
    return console.percent(after[key] / max(1, before[key]))


def _unseen(share: float | None) -> str:
    return "no corpus" if share is None else console.percent(share, 3)
