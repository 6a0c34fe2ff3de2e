"""``polycompress plan``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from polycompress.cli import console
from polycompress.cli.options import Corpus, CountsFiles, Field, Json, Langs, Model, NoFrequencies, joined

if TYPE_CHECKING:
    from polycompress.pipelines.plan import BudgetPlan, Cost


def plan(
    model: Model,
    langs: Langs,
    budget: Annotated[
        str,
        typer.Option("--budget", metavar="SIZE", help="`60MB` of weights files, or `20M` parameters in all."),
    ],
    corpus: Corpus = [],  # noqa: B006  typer reads the default, nothing changes it
    field: Field = None,
    counts: CountsFiles = [],  # noqa: B006
    no_frequencies: NoFrequencies = False,
    pad_to_multiple_of: Annotated[
        int, typer.Option("--pad-to-multiple-of", help="Tables will be padded to a multiple of so many rows.")
    ] = 1,
    json: Json = False,
) -> None:
    """Say which vocabulary size fits a budget, and what that keeps of each language. Nothing is written.

    A budget in bytes is one of the weights files, at the types they have; one in parameters is of the whole model.
    The tokenizer's own files come on top.

    Examples:
        polycompress plan demo --langs de,tr --budget 120MB

        polycompress plan xlm-roberta-base --langs sw,en --corpus sw='swahili/*.txt.gz' --budget 120M
    """
    from polycompress.pipelines.plan import plan as run

    with console.progress_bars() as progress:
        found = run(
            model,
            langs=joined(langs),
            budget=budget,
            corpus=corpus,
            field=field,
            counts=counts,
            frequencies=not no_frequencies,
            pad_to_multiple_of=pad_to_multiple_of,
            progress=progress,
        )
    if json:
        console.print_json(found.as_dict())
    else:
        _show(found)


def _show(found: BudgetPlan) -> None:
    console.print_facts(
        [
            ("the model as it is", "", *_cost(found.whole)),
            ("without its vocabulary", "", *_cost(found.fixed)),
            (f"within {found.budget}", console.number(found.planned.tokens), *_cost(found.planned.cost)),
            ("chosen by default", console.number(found.default.tokens), *_cost(found.default.cost)),
        ],
        f"{found.source} ({found.model_type}, {found.tokenizer_type})",
        ("", "tokens", "weights", "parameters"),
    )
    console.print_facts(
        [
            (
                language.name,
                *(
                    console.percent(choice.coverage[language.code], 3)
                    for choice in (found.planned, found.default)
                ),
                *(_share(choice.unchanged[language.code]) for choice in (found.planned, found.default)),
            )
            for language in found.languages
        ],
        header=("language", "tokens covered", "by default", "held-out texts unchanged", "by default"),
    )
    for line in _remarks(found):
        console.print_line(line)
    console.print_line(shlex.join(found.command))


def _remarks(found: BudgetPlan) -> list[str]:
    remarks = []
    if found.planned.tokens < found.size:
        remarks.append(
            f"the budget holds {found.size:,} tokens; {found.planned.tokens:,} are all that these languages need"
        )
    if found.loses_most is not None:
        worst = next(language for language in found.languages if language.code == found.loses_most)
        lost = 1 - found.planned.coverage[worst.code]
        whose = f"{worst.name} loses most" if len(found.languages) > 1 else f"{worst.name} loses"
        remarks.append(f"{whose}: {console.percent(lost, 3)} of its expected tokens")
    fits = "fits the budget too" if found.default_fits else "does not fit the budget"
    return [*remarks, f"what trim chooses by default {fits}; to keep to the budget:"]


def _cost(cost: Cost) -> tuple[str, str]:
    return console.megabytes(cost.bytes), console.millions(cost.parameters)


def _share(share: float | None) -> str:
    return "-" if share is None else console.percent(share)
