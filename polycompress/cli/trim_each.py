"""``polycompress trim --each``: what becomes of many languages at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from polycompress.cli import console
from polycompress.errors import PolycompressError

if TYPE_CHECKING:
    from polycompress.pipelines.trim_each import EachOutcome
    from polycompress.pipelines.trimming.request import TrimSettings


def run_each(
    model: str,
    *,
    each: str,
    langs: str,
    out: Path | None,
    corpus: Sequence[str],
    field: str | None,
    counts: Sequence[Path],
    settings: TrimSettings,
    dry_run: bool,
    json: bool,
    command: Sequence[str],
) -> None:
    """Trim to each language, and print a table of all.

    Raises:
        PolycompressError: One or more languages failed; the models of the others are there.
    """
    from polycompress.pipelines.trim_each import trim_each

    with console.progress_bars() as progress:
        outcomes = trim_each(
            model,
            each=each,
            langs=langs,
            out=out,
            corpus=corpus,
            field=field,
            counts=counts,
            settings=settings,
            dry_run=dry_run,
            progress=progress,
            command=command,
        )
    if json:
        console.print_json({"models": [outcome.as_dict() for outcome in outcomes]})
    else:
        _show(outcomes)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        others = "nothing was written (--dry-run)" if dry_run else "the other models are there"
        raise PolycompressError(
            f"{len(failed)} of {len(outcomes)} languages failed; {others}. "
            + "; ".join(f"{outcome.language.code}: {outcome.message}" for outcome in failed)
        )


def _show(outcomes: Sequence[EachOutcome]) -> None:
    shown = [outcome for outcome in outcomes if outcome.status != "no source"]
    if shown:
        console.print_facts(
            [_row(outcome) for outcome in shown],
            header=(
                "language",
                "",
                "tokens",
                "weights",
                "expected tokens kept",
                "held-out unchanged",
                "written to",
            ),
        )
    left = [outcome.language.code for outcome in outcomes if outcome.status == "no source"]
    if left:
        console.print_line(
            f"left out, for want of a corpus, counts or built-in word frequencies: {len(left)} languages "
            f"({', '.join(left[:8])}{', ...' if len(left) > 8 else ''})"
        )


def _row(outcome: EachOutcome) -> tuple[str, ...]:
    where = "" if outcome.out is None else str(outcome.out)
    if outcome.result is None:
        return (outcome.language.code, outcome.status, "", "", "", "", where)
    code, plan = outcome.language.code, outcome.result.plan
    texts = outcome.result.certificate.languages[code] if outcome.result.certificate is not None else None
    return (
        code,
        outcome.status,
        console.number(plan.sizes["after"]["vocab"]),
        console.megabytes(plan.sizes["after"]["bytes"]),
        console.percent(plan.coverage[code], 3),
        console.percent(texts.identical / texts.texts) if texts is not None and texts.texts else "",
        where,
    )
