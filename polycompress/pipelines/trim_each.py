"""Trim one model to many languages: one trimmed model each, from one reading of the source."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from polycompress.corpora import CorpusSpec, Reading, parse_corpora
from polycompress.errors import InputError, PolycompressError
from polycompress.languages import Language, find_language, select_languages
from polycompress.modeldir.atomic import check_apart, check_output
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.trim import TrimResult, trim_opened
from polycompress.pipelines.trimming.gathering import (
    Progress,
    check_covered,
    count_background,
    counts_from_files,
    gather_language,
)
from polycompress.pipelines.trimming.keeping import named_tokens
from polycompress.pipelines.trimming.loading import asked_languages, open_model
from polycompress.pipelines.trimming.request import TrimSettings, command_line, request_config
from polycompress.pipelines.trimming.writing import hash_source
from polycompress.vocab.counts import LanguageCounts

PLACES: Final = ("{code}", "{iso}")
"""What an output pattern may hold: the language's code (``deu-Latn``), or its ISO 639 code alone (``de``, ``ceb``)."""

Status = Literal["done", "planned", "already there", "no source", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EachOutcome:
    """What became of one language."""

    language: Language
    status: Status
    out: Path | None = None
    """Where its model lies, or would lie."""
    result: TrimResult | None = None
    message: str = ""
    """Why it failed or was left out; else empty."""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "language": self.language.code,
            "status": self.status,
            "out": None if self.out is None else str(self.out),
            "message": self.message,
            "plan": None if self.result is None else self.result.plan.as_dict(),
            "certificate": None
            if self.result is None or self.result.certificate is None
            else self.result.certificate.as_dict(),
        }


def trim_each(
    model: str | os.PathLike[str],
    *,
    each: str | Sequence[str],
    out: str | os.PathLike[str] | None = None,
    langs: str | Sequence[str] = (),
    corpus: str | Sequence[str] = (),
    field: str | None = None,
    counts: Sequence[str | os.PathLike[str]] = (),
    settings: TrimSettings | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
) -> tuple[EachOutcome, ...]:
    """Trim a model to each of many languages, reading the source and every word list once.

    A failure in one language does not lose the others. An output that is there is left alone unless it may be
    overwritten: if its manifest tells of the same source and settings it is done already, so that an interrupted run
    can be started again, else its language fails.

    Args:
        model: A directory, the word ``demo``, or ``owner/name[@revision]`` on the Hugging Face hub.
        each: Codes or names, a family or branch (``Romance``), or ``all``. A language that was named must be covered;
            of a family or of all, those that nothing is known of are left out.
        out: Pattern of the directories, with ``{code}`` or ``{iso}`` in it; not needed for a dry run.
        langs: Languages that every model keeps too.
        corpus: ``[LANG=]PATTERN`` of text files.
        field: Column of the text in JSON lines, CSV, TSV and Parquet; by default ``text``.
        counts: Counts files.
        settings: What else a trim can be told.
        dry_run: Plan only.
        progress: Called as work goes on.
        command: The command line, for the record.

    Returns:
        What became of each language, in order.

    Raises:
        InputError: The request or the source is wrong; nothing was written.
    """
    settings = settings or TrimSettings()
    spec = each if isinstance(each, str) else ",".join(each)
    languages, named = select_languages(spec), _named(spec)
    shared = asked_languages(langs) if langs else ()
    specs = [corpus] if isinstance(corpus, str) else list(corpus)
    asked = tuple(dict.fromkeys((*languages, *shared)))
    corpora = parse_corpora(specs, asked, reading=Reading(field=field))
    places = _places(out, languages, dry_run=dry_run)
    opened = open_model(model)
    for place in places.values():
        check_apart(place, opened.source.path)
    held = counts_from_files(counts, opened.vocabulary, asked)
    uncovered = _uncovered(languages, corpora, held, frequencies=settings.frequencies)
    if len(uncovered) == len(languages) and not named:
        raise InputError(_nothing_known(spec, list(uncovered.values())))
    keep = named_tokens(opened.vocabulary, settings.keep, settings.keep_regex)
    background = count_background(opened.vocabulary, progress) if settings.frequencies else None
    gather = functools.partial(
        gather_language,
        opened.vocabulary,
        corpora=corpora,
        counts=held,
        background=background,
        progress=progress,
    )
    for language in shared:
        check_covered(language, corpora, held, frequencies=settings.frequencies)
    beside = {language: gather(language) for language in shared}
    hashes = None if dry_run else hash_source(opened, progress)

    def one(language: Language) -> EachOutcome:
        place = places.get(language)
        config = request_config(tuple(dict.fromkeys((language, *shared))), specs, counts, settings, field)
        if place is not None and not settings.overwrite and _is_made(place, config, hashes):
            return EachOutcome(language=language, status="already there", out=place)
        try:
            if place is not None:
                check_output(place, overwrite=settings.overwrite)
        except PolycompressError as error:
            return EachOutcome(language=language, status="failed", out=place, message=str(error))
        if language in uncovered:
            status: Status = "failed" if language in named else "no source"
            return EachOutcome(language=language, status=status, message=uncovered[language])
        line = list(command) if command else command_line(model, place, config, settings.limit)
        try:
            kept = {language: beside.get(language) or gather(language)} | beside
            result = trim_opened(
                opened,
                tuple(kept.values()),
                keep,
                settings,
                out=place,
                record={"command": line, "config": config},
                hashes=hashes,
            )
        except (PolycompressError, OSError) as error:
            return EachOutcome(language=language, status="failed", out=place, message=str(error))
        return EachOutcome(
            language=language, status="planned" if place is None else "done", out=place, result=result
        )

    outcomes = []
    for language in languages:
        outcomes.append(one(language))
        if progress is not None:
            progress(f"trimming {len(languages)} models", 1, len(languages))
    return tuple(outcomes)


def _is_made(place: Path, config: Mapping[str, Any], hashes: Mapping[str, str] | None) -> bool:
    """Whether a directory's manifest tells of the same request and the same source."""
    try:
        manifest = read_manifest(place) or {}
    except (InputError, OSError):
        return False
    return manifest.get("config") == config and manifest.get("source", {}).get("files") == hashes


def _uncovered(
    languages: Sequence[Language],
    corpora: Sequence[CorpusSpec],
    held: Mapping[str, LanguageCounts],
    *,
    frequencies: bool,
) -> dict[Language, str]:
    """Those of which nothing tells how they use the vocabulary, and what would."""
    messages = {}
    for language in languages:
        try:
            check_covered(language, corpora, held, frequencies=frequencies)
        except InputError as error:
            messages[language] = str(error)
    return messages


def _nothing_known(spec: str, messages: Sequence[str], shown: int = 8) -> str:
    lines = [f"--each {spec!r}: there is nothing to make", *messages[:shown]]
    if len(messages) > shown:
        lines.append(
            f"and {len(messages) - shown} more (`polycompress languages` says where languages are covered)"
        )
    return "\n".join(lines)


def _named(spec: str) -> frozenset[Language]:
    """The languages that a list names one by one, not as a family or all."""
    found = set()
    for name in spec.split(","):
        with suppress(InputError):
            found.add(find_language(name.strip()))
    return frozenset(found)


def _places(
    out: str | os.PathLike[str] | None, languages: Sequence[Language], *, dry_run: bool
) -> dict[Language, Path]:
    if dry_run:
        return {}
    pattern = "" if out is None else os.fspath(out)
    if not any(place in pattern for place in PLACES):
        raise InputError(
            f"--out {pattern!r} names one directory, but --each writes one for each language: put "
            f"{' or '.join(PLACES)} in it, such as 'models/e5-{{code}}'"
        )
    places = {
        language: Path(
            pattern.replace("{code}", language.code).replace("{iso}", language.iso639_1 or language.iso639_3)
        )
        for language in languages
    }
    first: dict[Path, Language] = {}
    for language, place in places.items():
        if first.setdefault(place, language) != language:
            raise InputError(
                f"--out {pattern!r}: {place} would be both {first[place].code} and {language.code}; use {{code}}, "
                "which tells scripts apart"
            )
    return places
