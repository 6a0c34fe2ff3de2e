"""How an inferred mixture of languages is shown on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polycompress.cli import console

if TYPE_CHECKING:
    from polycompress.pipelines.mixture import MixtureReport
    from polycompress.pipelines.trimming.mixture_text import Candidate


def show_mixture(report: MixtureReport) -> None:
    """Write the shares, the merges they rest on and how far to trust them to stdout."""
    rows = [
        (
            f"{item.language.name} ({item.language.code})",
            console.percent(item.share),
            f"{100 * item.low:.1f} to {console.percent(item.high)}",
            console.number(item.merges),
            _text(item.candidate),
        )
        for item in sorted(report.languages, key=lambda item: -item.share)
    ]
    console.print_facts(
        rows,
        f"{report.name}: what its tokenizer was trained on, out of {len(rows)} languages",
        ("", "share of bytes", "95 % interval", "own merges", "text"),
    )
    left_out = [
        (report.merges_absent, "never occur in the text"),
        (report.merges_blank, "are white space only"),
        (report.merges_redundant, "are a converter's other ways to build a token"),
    ]
    notes = [f"{count:,} {what}" for count, what in left_out if count]
    console.print_line("own merges: those at least half of whose occurrences are this language's")
    console.print_line(
        f"{report.merges_used:,} of {report.merges_listed:,} merges used"
        + (f"; left out on the way: {', '.join(notes)}" if notes else "")
    )
    console.print_line(f"trust: {report.trust.level}. {report.trust.text}")


def _text(candidate: Candidate) -> str:
    if candidate.rough:
        return "word list"
    return f"{'first ' if candidate.cut else ''}{console.megabytes(candidate.bytes)}"
