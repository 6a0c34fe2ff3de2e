"""What ``polycompress ofa MODEL`` prints: the plan, sizes, segmentation, errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from polycompress.cli import console
from polycompress.cli.tokenizer_view import show_changes
from polycompress.modeldir.ofa_card import RULES

if TYPE_CHECKING:
    from polycompress.pipelines.initialising.result import OfaResult
    from polycompress.pipelines.tokenizers.figures import LanguageCost


def show(result: OfaResult) -> None:
    """Print what was done, or planned."""
    _show_sizes(result)
    _show_rules(result)
    _show_languages(result.plan.languages)
    _show_costs(result.target.costs)
    show_changes(result.target.changes)
    if result.factorised is not None:
        errors = {"all tokens alike": result.factorised.overall, **result.factorised.languages}
        console.print_facts(
            [
                (name, console.percent(error.relative), f"{error.cosine:.4f}")
                for name, error in errors.items()
            ],
            header=("source tokens", "relative error", "mean cosine"),
        )
    for note in result.notes:
        console.print_line(f"note: {note}")
    where = "nothing was written (--dry-run)" if result.out is None else f"written to {result.out}"
    console.print_line(where)


def _show_sizes(result: OfaResult) -> None:
    before, after = result.sizes["before"], result.sizes["after"]
    rows = [
        (name, form(before[key]), form(after[key]), console.percent(after[key] / max(1, before[key])))
        for name, key, form in (
            ("tokens", "vocab", console.number),
            ("embedding parameters", "embedding_parameters", console.millions),
            ("all parameters", "parameters", console.millions),
            ("weights", "bytes", console.megabytes),
        )
    ]
    made = "" if result.factorised is None else f", rank {result.factorised.factors.rank}"
    names = ", ".join(language.name for language in result.target.languages)
    what = f"extended for {names}" if result.target.extended else f"with the tokenizer {result.target.name}"
    title = f"{result.source} {what}: {result.plan.way.name}{made}"
    console.print_facts(rows, title, ("", "before", "after", ""))


def _show_rules(result: OfaResult) -> None:
    counts = result.plan.counts
    total = sum(counts.values())
    rows = [
        (RULES[rule], console.number(count), console.percent(count / max(1, total), 2))
        for rule, count in counts.items()
        if count
    ]
    console.print_facts(rows, header=("row", "tokens", ""))
    if (examples := result.fallen_examples()) and result.plan.way.needs:
        console.print_line(f"drawn at random, among others: {', '.join(map(repr, examples))}")
    if result.plan.covered is not None:
        covered = result.plan.covered
        console.print_line(
            f"word vectors say something of {covered['source']:,} tokens of the source and "
            f"{covered['target']:,} of the result"
        )


def _show_languages(languages: Mapping[str, Mapping[str, int]]) -> None:
    present = [rule for rule in RULES if any(own.get(rule) for own in languages.values())]
    rows = [
        (code, *(console.number(own.get(rule, 0)) for rule in present)) for code, own in languages.items()
    ]
    if rows:
        console.print_facts(rows, header=("tokens by language", *present))


def _show_costs(costs: tuple[LanguageCost, ...]) -> None:
    rows = [
        (
            each.language.name,
            "" if each.before is None else f"{each.before.fertility:.3f}",
            f"{each.after.fertility:.3f}",
        )
        for each in costs
    ]
    if rows:
        console.print_facts(rows, header=("tokens per word", "before", "after"))
