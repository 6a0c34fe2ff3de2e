"""How an inferred mixture of languages is shown on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polycompress.cli import console

if TYPE_CHECKING:
    from polycompress.pipelines.mixture import MixtureReport


def show_mixture(report: MixtureReport) -> None:
    """Write the shares, the merges they rest on and how far to trust them to stdout."""
    rows = [
        (
            f"{item.language.name} ({item.language.code})",
            console.percent(item.share),
            f"{console.percent(item.low)} to {console.percent(item.high)}",
            _text(item.candidate.bytes, item.candidate.rough, item.candidate.cut),
        )
        for item in sorted(report.languages, key=lambda item: -item.share)
    ]
    console.print_facts(
        rows,
        f"training text of the tokenizer of {report.name}, among these {len(rows)} languages",
        ("", "share of bytes", "95 % interval", "judged by"),
    )
    left_out = [
        (report.merges_absent, "never occur in the text"),
        (report.merges_blank, "are white space only"),
        (report.merges_redundant, "are a converter's other ways to build a token"),
    ]
    notes = [f"{count:,} {what}" for count, what in left_out if count]
    console.print_line(
        f"{report.merges_used:,} of {report.merges_listed:,} merges used"
        + (f"; left out on the way: {', '.join(notes)}" if notes else "")
    )
    console.print_line(f"trust: {report.trust.level}. {report.trust.text}")


def _text(size: int, rough: bool, cut: bool) -> str:
    if rough:
        return "word frequencies"
    return f"{'the first ' if cut else ''}{console.megabytes(size)} of text"
