"""Trim a model to some languages: fewer rows in its vocabulary tables, everything else bit by bit the same.

Method: Ushio, Zhou and Camacho-Collados, "An Efficient Multilingual Language Model Compression through Vocabulary
Trimming" (Findings of EMNLP 2023), on files instead of models, for any tokenizer type, with a certificate.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycompress.corpora import Reading, corpus_arguments, parse_corpora
from polycompress.errors import InputError
from polycompress.modeldir.atomic import check_apart, check_output
from polycompress.pipelines.trimming.certificate import Certificate
from polycompress.pipelines.trimming.gathering import Evidence, Progress, counts_from_files, gather_evidence
from polycompress.pipelines.trimming.keeping import named_tokens
from polycompress.pipelines.trimming.loading import OpenModel, asked_languages, open_model
from polycompress.pipelines.trimming.planning import TrimPlan, plan_trim
from polycompress.pipelines.trimming.request import TrimSettings, choose_limit, command_line, request_config
from polycompress.pipelines.trimming.writing import apply_trim


@dataclass(frozen=True, kw_only=True, slots=True)
class TrimResult:
    """A finished trim, or a dry run's plan."""

    plan: TrimPlan
    out: Path | None
    """The directory written; None after a dry run."""
    certificate: Certificate | None
    manifest: Mapping[str, Any] | None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "out": None if self.out is None else str(self.out),
            "plan": self.plan.as_dict(),
            "certificate": None if self.certificate is None else self.certificate.as_dict(),
        }


def trim(
    model: str | os.PathLike[str],
    *,
    langs: str | Sequence[str],
    out: str | os.PathLike[str] | None = None,
    corpus: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    field: str | None = None,
    counts: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    coverage: float | None = None,
    size: int | None = None,
    min_count: int | None = None,
    min_share: float | None = None,
    keep: str | os.PathLike[str] | None = None,
    keep_regex: str | Sequence[str] = (),
    frequencies: bool = True,
    pad_to_multiple_of: int = 1,
    full: bool = False,
    overwrite: bool = False,
    link: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
) -> TrimResult:
    """Trim a model to some languages.

    Args:
        model: A directory, the word ``demo``, or ``owner/name[@revision]`` on the Hugging Face hub.
        langs: Languages to keep: codes or names, as a list or joined by commas.
        out: The directory to write; not needed for a dry run.
        corpus: ``[LANG=]PATTERN`` of text files, one text a line. Without any, word frequencies decide.
        field: Column of the text in JSON lines, CSV, TSV and Parquet; by default ``text``.
        counts: Counts files of ``polycompress count``, instead of a corpus or beside it.
        coverage: Share of every language's expected tokens to keep, in (0, 1]; by default ``DEFAULT_COVERAGE``.
        size: Tokens to keep in all, instead.
        min_count: Least occurrences in a corpus, instead.
        min_share: Least relative frequency in any language's corpus, instead.
        keep: A file of tokens to keep whatever their use, one a line.
        keep_regex: Patterns of tokens to keep, searched in their surface text.
        frequencies: Use the built-in word frequencies, alone or beside a corpus.
        pad_to_multiple_of: Pad the tables to a multiple of so many rows.
        full: Also compare hidden states and logits on real text (needs torch).
        overwrite: Replace an existing output.
        link: Hard-link files that do not change instead of copying them.
        dry_run: Plan only.
        progress: Called as work goes on.
        command: The command line, for the record.

    Returns:
        The plan, and unless it was a dry run, where the result lies and its certificate.

    Raises:
        InputError: The request or a file is wrong; nothing was written.
        CertificateError: The result does not behave as its source; nothing was written.
        StorageError: It could not be written; nothing was left behind.
    """
    settings = TrimSettings(
        limit=choose_limit(coverage, size, min_count, min_share),
        keep=keep,
        keep_regex=(keep_regex,) if isinstance(keep_regex, str) else tuple(keep_regex),
        frequencies=frequencies,
        pad_to_multiple_of=pad_to_multiple_of,
        full=full,
        overwrite=overwrite,
        link=link,
    )
    languages = asked_languages(langs)
    place = None if dry_run or out is None else Path(out)
    if place is None and not dry_run:
        raise InputError("no output directory was given; name one with --out, or plan only with --dry-run")
    if place is not None:
        check_output(place, overwrite=overwrite)
    specs = corpus_arguments(corpus)
    files = [counts] if isinstance(counts, str | os.PathLike) else list(counts)
    corpora = parse_corpora(specs, languages, reading=Reading(field=field))
    opened = open_model(model)
    if place is not None:
        check_apart(place, opened.source.path)
    named = named_tokens(opened.vocabulary, settings.keep, settings.keep_regex)
    evidence = gather_evidence(
        opened.vocabulary,
        languages,
        corpora,
        counts=counts_from_files(files, opened.vocabulary, languages),
        frequencies=frequencies,
        progress=progress,
    )
    config = request_config(languages, specs, files, settings, field)
    line = list(command) if command else command_line(model, place, config, settings.limit)
    return trim_opened(
        opened,
        evidence,
        named,
        settings,
        out=place,
        record={"command": line, "config": config},
        progress=progress,
    )


def trim_opened(
    opened: OpenModel,
    evidence: Sequence[Evidence],
    named: Mapping[int, str],
    settings: TrimSettings,
    *,
    out: Path | None,
    record: Mapping[str, Any],
    hashes: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> TrimResult:
    """Trim a model that is open to languages whose evidence is gathered.

    Args:
        opened: The source.
        evidence: One record for each language to keep.
        named: See ``named_tokens``.
        settings: See ``TrimSettings``.
        out: The directory to write; None to plan only.
        record: ``command`` and ``config`` for the manifest.
        hashes: See ``hash_source``, where they are known already.
        progress: Called as work goes on.

    Raises:
        InputError: The limit cannot be met.
        CertificateError: The result does not behave as its source; nothing was written.
        StorageError: It could not be written; nothing was left behind.
    """
    plan = plan_trim(
        opened, evidence, settings.limit, named=named, pad_to_multiple_of=settings.pad_to_multiple_of
    )
    if out is None:
        return TrimResult(plan=plan, out=None, certificate=None, manifest=None)
    certificate, manifest = apply_trim(
        opened,
        plan,
        evidence,
        out,
        record,
        full=settings.full,
        overwrite=settings.overwrite,
        link=settings.link,
        hashes=hashes,
        progress=progress,
    )
    return TrimResult(plan=plan, out=out, certificate=certificate, manifest=manifest)
