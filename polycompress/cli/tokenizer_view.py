"""What ``polycompress tokenizer`` prints: sizes, tokens per word, what other languages notice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from polycompress.cli import console

if TYPE_CHECKING:
    from polycompress.pipelines.tokenizers.figures import LanguageChange
    from polycompress.pipelines.tokenizers.result import TokenizerResult


def show(result: TokenizerResult) -> None:
    """Print what was made, planned or compared."""
    facts = [("type", result.kind), ("tokens", console.number(result.size))]
    if result.old_size is not None:
        facts += [("tokens before", console.number(result.old_size))]
        facts += [("tokens in common", console.number(result.shared or 0))]
        facts += [("new tokens", console.number(result.size - (result.shared or 0)))]
    console.print_facts(facts, "tokenizer")
    rows = [
        (
            each.language.name,
            "" if each.before is None else f"{each.before.fertility:.3f}",
            f"{each.after.fertility:.3f}",
            f"{each.after.characters_per_token:.2f}",
        )
        for each in result.costs
    ]
    if rows:
        console.print_facts(rows, header=("tokens per word", "before", "after", "characters per token"))
    show_changes(result.changes)
    for note in result.notes:
        console.print_line(f"  - {note}")
    if result.out is not None:
        console.print_line(f"written to {result.out}")


def show_changes(changes: Sequence[LanguageChange]) -> None:
    """Print how much of other languages is cut otherwise than before."""
    rows = []
    for each in changes:
        found = each.change.as_dict()
        rows.append(
            (
                f"{each.language.name} ({each.source})",
                console.percent(found["texts_changed"], 2),
                console.percent(found["words_changed"], 2),
            )
        )
    if rows:
        console.print_facts(rows, header=("cut otherwise than before", "texts", "running words"))
