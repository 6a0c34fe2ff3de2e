"""Trim a model to some languages: fewer rows in its vocabulary tables, everything else bit by bit the same.

Method: Ushio, Zhou and Camacho-Collados, "An Efficient Multilingual Language Model Compression through Vocabulary
Trimming" (Findings of EMNLP 2023), on files instead of models, for any tokenizer type, with a certificate.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.corpora import Reading, parse_corpora
from polycompress.errors import InputError
from polycompress.languages import Language
from polycompress.modeldir.atomic import check_apart, check_output
from polycompress.modeldir.axes import parameter_parts
from polycompress.modeldir.directory import stale_files
from polycompress.modeldir.tensors import RowSlice
from polycompress.pipelines.certificate import Certificate
from polycompress.pipelines.cuts import vocab_slices
from polycompress.pipelines.gathering import Evidence, Progress, counts_from_files, gather_evidence
from polycompress.pipelines.keeping import named_tokens, required_tokens
from polycompress.pipelines.loading import OpenModel, asked_languages, open_model
from polycompress.pipelines.trim_writing import apply_trim
from polycompress.vocab.selection import Limit, select_ids

DEFAULT_COVERAGE: Final = 0.9999
"""Chosen from the measured frontier, ``eval/results/trim-quality.json``."""
MAX_MULTIPLE: Final = 1 << 16
"""Of rows that tables may be padded to; hardware asks for 8 to 128."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrimPlan:
    """What a trim will do; nothing is written yet."""

    source: str
    model_type: str
    tokenizer_type: str
    languages: tuple[Language, ...]
    limit: Limit
    keep_ids: NDArray[np.int64]
    """(K,) source id of each new id."""
    rules: Mapping[str, NDArray[np.int64]]
    """The ids that each rule kept."""
    coverage: Mapping[str, float]
    """Per language, the share of expected tokens that are kept."""
    unseen: Mapping[str, float | None]
    """Per language, Good and Turing's share of tokens that the corpus never showed; None without a corpus."""
    pad_rows: int
    slices: Mapping[str, RowSlice]
    sizes: Mapping[str, Mapping[str, int]]
    """``before`` and ``after``: parameters, bytes, vocab, rows, embedding_parameters."""
    not_copied: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``: everything but the ids themselves."""
        return {
            "source": self.source,
            "model_type": self.model_type,
            "tokenizer_type": self.tokenizer_type,
            "languages": [language.code for language in self.languages],
            "limit": {self.limit.by: self.limit.value},
            "kept": len(self.keep_ids),
            "kept_by": {rule: len(ids) for rule, ids in self.rules.items()},
            "coverage": dict(self.coverage),
            "unseen": dict(self.unseen),
            "pad_rows": self.pad_rows,
            "tensors": [
                {"name": name, "axis": cut.axis, "rows": cut.rows} for name, cut in self.slices.items()
            ],
            "sizes": {when: dict(size) for when, size in self.sizes.items()},
            "not_copied": list(self.not_copied),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class TrimSettings:
    """What a trim can be told besides the model, its languages and their text."""

    limit: Limit = dataclasses.field(default_factory=lambda: Limit(by="coverage", value=DEFAULT_COVERAGE))
    keep: str | os.PathLike[str] | None = None
    """A file of tokens to keep whatever their use."""
    keep_regex: tuple[str, ...] = ()
    frequencies: bool = True
    pad_to_multiple_of: int = 1
    full: bool = False
    overwrite: bool = False
    link: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.pad_to_multiple_of <= MAX_MULTIPLE:
            raise InputError(
                f"--pad-to-multiple-of is a number of rows from 1 to {MAX_MULTIPLE}, such as 64; "
                f"got {self.pad_to_multiple_of}"
            )

    def as_dict(self) -> dict[str, Any]:
        """What decides the result, for the manifest."""
        return {
            self.limit.by: self.limit.value,
            "keep": None if self.keep is None else str(self.keep),
            "keep_regex": list(self.keep_regex),
            "frequencies": self.frequencies,
            "pad_to_multiple_of": self.pad_to_multiple_of,
            "full": self.full,
        }


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
    corpus: str | Sequence[str] = (),
    field: str | None = None,
    counts: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    coverage: float | None = None,
    size: int | None = None,
    min_count: int | None = None,
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
        limit=choose_limit(coverage, size, min_count),
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
    specs = [corpus] if isinstance(corpus, str) else list(corpus)
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


def request_config(
    languages: Sequence[Language],
    corpus: Sequence[str],
    counts: Sequence[str | os.PathLike[str]],
    settings: TrimSettings,
    field: str | None = None,
) -> dict[str, Any]:
    """The whole request, for the manifest."""
    return {
        "langs": [language.code for language in languages],
        "corpus": list(corpus),
        "field": field,
        "counts": [os.fspath(path) for path in counts],
        **settings.as_dict(),
    }


def choose_limit(coverage: float | None, size: int | None, min_count: int | None) -> Limit:
    """The one limit that was asked for, checked.

    Raises:
        InputError: More than one was given, or its value makes no sense.
    """
    given = {
        name: value
        for name, value in (("coverage", coverage), ("size", size), ("min_count", min_count))
        if value is not None
    }
    if len(given) > 1:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(f"{flags} cannot be combined: give one of them")
    if coverage is not None and not 0 < coverage <= 1:
        raise InputError(f"--coverage is a share between 0 and 1, such as 0.9999; got {coverage}")
    if size is not None and size < 1:
        raise InputError(f"--size is a number of tokens, such as 40000; got {size}")
    if min_count is not None and min_count < 1:
        raise InputError(f"--min-count is a number of occurrences, such as 2; got {min_count}")
    if size is not None:
        return Limit(by="size", value=size)
    if min_count is not None:
        return Limit(by="min_count", value=min_count)
    return Limit(by="coverage", value=DEFAULT_COVERAGE if coverage is None else coverage)


def plan_trim(
    opened: OpenModel,
    evidence: Sequence[Evidence],
    limit: Limit,
    *,
    named: Mapping[int, str],
    pad_to_multiple_of: int = 1,
) -> TrimPlan:
    """Decide what is kept and what every file will hold, without writing anything."""
    vocabulary = opened.vocabulary
    languages = tuple(record.language for record in evidence)
    required = required_tokens(opened, languages) | dict(named)
    counted = [record.corpus.dense(vocabulary.size) for record in evidence if record.corpus is not None]
    selection = select_ids(
        {record.language.code: record.shares for record in evidence},
        required,
        limit,
        close=vocabulary.close,
        counts=np.maximum.reduce(counted).astype(np.int64) if counted else None,
    )
    kept = len(selection.keep_ids)
    pad_rows = -kept % pad_to_multiple_of
    slices = vocab_slices(opened.axes, selection.keep_ids, pad_rows)
    return TrimPlan(
        source=opened.source.name,
        model_type=str(opened.config.get("model_type", "unknown")),
        tokenizer_type=str(vocabulary.document["model"].get("type")),
        languages=languages,
        limit=limit,
        keep_ids=selection.keep_ids,
        rules=selection.rules,
        coverage=selection.coverage,
        unseen={record.language.code: record.unseen for record in evidence},
        pad_rows=pad_rows,
        slices=slices,
        sizes=_sizes(opened, slices, kept + pad_rows, kept),
        not_copied=tuple(stale_files(opened.source.path)),
    )


def _sizes(
    opened: OpenModel, slices: Mapping[str, RowSlice], rows: int, kept: int
) -> dict[str, dict[str, int]]:
    before = after = before_bytes = after_bytes = 0
    for name, info in opened.checkpoint.tensors.items():
        count = math.prod(info.shape)
        cut = slices.get(name)
        new = count if cut is None else count // info.shape[cut.axis] * cut.rows
        before += count
        after += new
        before_bytes += info.nbytes
        after_bytes += info.nbytes if cut is None else info.nbytes // info.shape[cut.axis] * cut.rows
    embedding = parameter_parts(opened.config, opened.checkpoint.tensors, opened.axes)["embeddings"]
    return {
        "before": {
            "parameters": before,
            "bytes": before_bytes,
            "vocab": opened.vocabulary.size,
            "rows": opened.axes.rows,
            "embedding_parameters": embedding,
        },
        "after": {
            "parameters": after,
            "bytes": after_bytes,
            "vocab": kept,
            "rows": rows,
            "embedding_parameters": embedding // opened.axes.rows * rows,
        },
    }


def command_line(
    model: str | os.PathLike[str], out: Path | None, config: Mapping[str, Any], limit: Limit
) -> list[str]:
    """The command that does what was asked for from Python."""
    words = ["polycompress", "trim", str(model), "--langs", ",".join(config["langs"])]
    for entry in config["corpus"]:
        words += ["--corpus", entry]
    if config["field"]:
        words += ["--field", config["field"]]
    for path in config["counts"]:
        words += ["--counts", path]
    value = f"{limit.value:g}" if limit.by == "coverage" else str(int(limit.value))
    words += [f"--{limit.by.replace('_', '-')}", value]
    if config["keep"]:
        words += ["--keep", config["keep"]]
    for pattern in config["keep_regex"]:
        words += ["--keep-regex", pattern]
    if not config["frequencies"]:
        words += ["--no-frequencies"]
    if config["pad_to_multiple_of"] > 1:
        words += ["--pad-to-multiple-of", str(config["pad_to_multiple_of"])]
    if config["full"]:
        words += ["--full"]
    return [*words, "--dry-run"] if out is None else [*words, "--out", str(out)]
