"""What the commands of ``polycompress moe`` print: experts and their families, sizes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from polycompress.cli import console

if TYPE_CHECKING:
    from polycompress.moe.config import MoeConfig
    from polycompress.moe.planning import ExpertPlan


def show_plan(plan: ExpertPlan, moe: MoeConfig) -> None:
    """A row for each expert."""
    rows = []
    for expert, load in enumerate(plan.loads):
        families = plan.families_of(expert)
        languages = [code for family in families for code in plan.languages_of(family)]
        rows.append((str(expert), ", ".join(families), ", ".join(languages), console.percent(load)))
    layers = ", ".join(map(str, moe.layers))
    experts = f"{moe.experts} expert{'s' if moe.experts > 1 else ''}"
    title = f"{experts} in layer{'s' if len(moe.layers) > 1 else ''} {layers}, {moe.top_k} for each token"
    counted = len(set(plan.tokens.values())) > 1
    share = f"share of {'tokens' if counted else 'languages'}"
    console.print_facts(rows, title, ("expert", "families", "languages", share))


def show_sizes(sizes: Mapping[str, Mapping[str, int]], title: str = "") -> None:
    """Parameters and bytes before and after."""
    before, after = sizes["before"], sizes["after"]
    rows = [
        (name, form(before[key]), form(after[key]), console.percent(after[key] / max(1, before[key])))
        for name, key, form in (
            ("all parameters", "parameters", console.millions),
            ("that one token meets", "active_parameters", console.millions),
            ("weights", "bytes", console.megabytes),
        )
    ]
    console.print_facts(rows, title, ("", "before", "after", ""))


def show_end(notes: tuple[str, ...], out: Path | None) -> None:
    """Notes, and where it lies."""
    for note in notes:
        console.print_line(f"note: {note}")
    console.print_line("nothing was written (--dry-run)" if out is None else f"written to {out}")
