"""What a run's stages say of languages: into how many tokens their words are cut, and whether text is cut as before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from polycompress.evaluation.results import number
from polycompress.languages.finding import lookup_language
from polycompress.modeldir.figures import UNKNOWN, count, items_of, part_and_share, part_of, ratio
from polycompress.report.figures import Table, table
from polycompress.report.whole.reading import RunFound, StageFound

_HEAD: Final = ("stage", "language", "text", "texts", "tokens a word before", "after")


def fertility_table(run: RunFound) -> Table | None:
    """Fertility: tokens a word of each language, before and after a stage; of a stage that only looks, what it saw."""
    rows = [row for stage in run.finished for row in (*_certified(stage), *_extended(stage), *_seen(stage))]
    return table(_HEAD, rows, words=3) if rows else None


def certificate_table(run: RunFound) -> Table | None:
    """What certificates say: rows that are the source's bit for bit, and texts that are cut as before."""
    rows = []
    for stage in run.finished:
        certificate = part_of(stage.result, "certificate")
        if not certificate:
            continue
        tables = part_of(certificate, "rows")
        passed = "passed" if certificate.get("passed") is True else "not passed"
        identical = _of(tables, "identical", "rows")
        for code, each in part_of(certificate, "languages").items() or [("", {})]:
            found = each if isinstance(each, Mapping) else {}
            rows.append(
                (
                    stage.name,
                    passed,
                    language_name(str(code)) if code else "-",
                    identical,
                    _of(found, "kept_only_identical", "kept_only"),
                    _of(found, "identical", "texts"),
                )
            )
    head = (
        "stage",
        "certificate",
        "language",
        "rows identical",
        "texts of kept tokens cut as before",
        "of all texts",
    )
    return table(head, rows, words=3) if rows else None


def coverage_table(run: RunFound) -> Table | None:
    """What a trimmed vocabulary covers of each language."""
    rows = []
    for stage in run.finished:
        plan = part_of(stage.result, "plan")
        covered, unseen = part_of(plan, "coverage"), part_of(plan, "unseen")
        for code, share in covered.items():
            rows.append((stage.name, language_name(str(code)), _percent(share), _percent(unseen.get(code))))
    head = ("stage", "language", "tokens kept", "expected tokens never seen")
    return table(head, rows, words=2) if rows else None


def language_name(code: str) -> str:
    """A language's name and code, or what else stands there."""
    language = lookup_language(code)
    return code if language is None else f"{language.name} ({code})"


def _certified(stage: StageFound) -> Iterator[tuple[str, ...]]:
    for code, found in part_of(part_of(stage.result, "certificate"), "languages").items():
        if isinstance(found, Mapping):
            yield _row(stage, code, found.get("source"), found.get("texts"), found, "fertility_")


def _extended(stage: StageFound) -> Iterator[tuple[str, ...]]:
    for found in items_of(stage.result, "costs"):
        if isinstance(found, Mapping):
            before, after = part_of(found, "before"), part_of(found, "after")
            both = {"before": before.get("fertility"), "after": after.get("fertility")}
            yield _row(stage, found.get("language"), "the corpus", after.get("texts"), both, "")


def _seen(stage: StageFound) -> Iterator[tuple[str, ...]]:
    for code, found in part_of(stage.result, "profiles").items():
        if isinstance(found, Mapping):
            yield _row(stage, code, found.get("text"), None, {"after": found.get("tokens_per_word")}, "")


def _row(
    stage: StageFound, code: object, text: object, texts: object, found: Mapping[str, Any], prefix: str
) -> tuple[str, ...]:
    before, after = (number(found.get(f"{prefix}{when}")) for when in ("before", "after"))
    return (
        stage.name,
        language_name(str(code)),
        str(text or UNKNOWN),
        "" if texts is None else count(number(texts)),
        "" if before is None else ratio(before),
        ratio(after),
    )


def _of(found: Mapping[str, Any], part: str, whole: str) -> str:
    return part_and_share(number(found.get(part), 0, 1e15), number(found.get(whole), 0, 1e15))


def _percent(value: object) -> str:
    found = number(value, 0, 1)
    return UNKNOWN if found is None else f"{found:.2%}"
