"""Which vocabulary fits a budget of bytes or parameters, and what that buys for each language."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from polycompress.corpora import Reading, parse_corpora
from polycompress.errors import InputError
from polycompress.languages import Language
from polycompress.modeldir.header import TensorInfo, encode_header
from polycompress.modeldir.paths import safe_file
from polycompress.pipelines.trimming.gathering import Evidence, Progress, counts_from_files, gather_evidence
from polycompress.pipelines.trimming.keeping import required_tokens
from polycompress.pipelines.trimming.loading import OpenModel, asked_languages, open_model
from polycompress.pipelines.trimming.planning import TrimPlan, plan_trim
from polycompress.pipelines.trimming.request import TrimSettings, command_line, request_config
from polycompress.vocab.counting import encode_ids
from polycompress.vocab.planning import Budget, Unit, budget_text, largest_size, parse_budget
from polycompress.vocab.selection import Limit

OUT: Final = "trimmed"
"""Where the command that is printed writes to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a model takes."""

    bytes: int
    """Of its safetensors files as they lie on the disk."""
    parameters: int
    """Values of all tensors in them."""

    def of(self, unit: Unit) -> int:
        """In the unit of a budget."""
        return self.bytes if unit == "bytes" else self.parameters

    def as_dict(self) -> dict[str, int]:
        """For ``--json``."""
        return {"bytes": self.bytes, "parameters": self.parameters}


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """One vocabulary, what it takes and what it keeps."""

    tokens: int
    """Tokens kept."""
    rows: int
    """Rows of the tables, padding included."""
    cost: Cost
    coverage: Mapping[str, float]
    """By language, share of its expected tokens that are kept."""
    unchanged: Mapping[str, float | None]
    """By language, share of its held-out texts all of whose tokens are kept; None without texts."""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "tokens": self.tokens,
            "rows": self.rows,
            **self.cost.as_dict(),
            "coverage": dict(self.coverage),
            "unchanged": dict(self.unchanged),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetPlan:
    """The vocabulary that a budget holds, beside the one that trimming chooses by itself."""

    source: str
    model_type: str
    tokenizer_type: str
    languages: tuple[Language, ...]
    budget: Budget
    size: int
    """The most tokens that the budget holds, for ``trim --size``."""
    least: int
    """Tokens that are kept whatever the size."""
    whole: Cost
    """The model as it is."""
    fixed: Cost
    """The part of it that is no vocabulary, which no trim changes."""
    planned: Choice
    default: Choice
    texts_from: Mapping[str, str]
    """By language, what its held-out texts are."""
    loses_most: str | None
    """Code of the language with the smallest share of expected tokens kept; None where none loses any."""
    command: tuple[str, ...]
    """The trim that keeps to the budget."""

    @property
    def default_fits(self) -> bool:
        """Whether the vocabulary that trimming chooses by itself keeps to the budget too."""
        return self.default.cost.of(self.budget.unit) <= self.budget.value

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "source": self.source,
            "model_type": self.model_type,
            "tokenizer_type": self.tokenizer_type,
            "languages": [language.code for language in self.languages],
            "budget": {self.budget.unit: self.budget.value},
            "size": self.size,
            "least": self.least,
            "whole": self.whole.as_dict(),
            "without_vocabulary": self.fixed.as_dict(),
            "planned": self.planned.as_dict(),
            "default": self.default.as_dict() | {"fits": self.default_fits},
            "texts_from": dict(self.texts_from),
            "loses_most": self.loses_most,
            "command": shlex.join(self.command),
        }


def plan(
    model: str | os.PathLike[str],
    *,
    langs: str | Sequence[str],
    budget: str,
    corpus: str | Sequence[str] = (),
    field: str | None = None,
    counts: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    frequencies: bool = True,
    pad_to_multiple_of: int = 1,
    progress: Progress | None = None,
) -> BudgetPlan:
    """Find the largest vocabulary that a budget holds. Nothing is written.

    Args:
        model: A directory, the word ``demo``, or ``owner/name[@revision]``.
        langs: Languages to keep: codes or names, as a list or joined by commas.
        budget: ``60MB``: bytes of the weights files, at their present types; ``20M``: parameters of the whole model.
        corpus: ``[LANG=]PATTERN`` of text files.
        field: Column of the text in JSON lines, CSV, TSV and Parquet; by default ``text``.
        counts: Files that ``polycompress count`` wrote with this tokenizer, instead of a corpus.
        frequencies: Use the built-in word frequencies, alone or beside a corpus.
        pad_to_multiple_of: The tables will be padded to a multiple of so many rows.
        progress: Called as work goes on.

    Returns:
        The size, what it takes and keeps, and the command that makes it.

    Raises:
        InputError: The budget does not hold what must be kept (the least that does is named), or the request, the
            model or a corpus is wrong.

    Example:
        >>> plan("demo", langs="de,tr", budget="120MB").size  # doctest: +SKIP
    """
    allowed = parse_budget(budget)
    languages = asked_languages(langs)
    settings = TrimSettings(frequencies=frequencies, pad_to_multiple_of=pad_to_multiple_of)
    files = [counts] if isinstance(counts, str | os.PathLike) else list(counts)
    patterns = [corpus] if isinstance(corpus, str) else list(corpus)
    corpora = parse_corpora(patterns, languages, reading=Reading(field=field))
    opened = open_model(model)
    least = least_tokens(opened, languages)
    size = fitting_size(opened, allowed, least, pad_to_multiple_of)
    counted = counts_from_files(files, opened.vocabulary, languages)
    evidence = gather_evidence(
        opened.vocabulary, languages, corpora, counts=counted, frequencies=frequencies, progress=progress
    )
    limit = Limit(by="size", value=size)
    config = request_config(languages, patterns, files, settings, field)
    planned, default = (
        plan_trim(opened, evidence, limit, named={}, pad_to_multiple_of=pad_to_multiple_of)
        for limit in (limit, settings.limit)
    )
    texts = _held_out(opened, evidence)
    worst = min(planned.coverage, key=lambda code: planned.coverage[code])
    return BudgetPlan(
        source=opened.source.name,
        model_type=planned.model_type,
        tokenizer_type=planned.tokenizer_type,
        languages=languages,
        budget=allowed,
        size=size,
        least=least,
        whole=_whole(opened),
        fixed=model_cost(opened, 0),
        planned=_choice(opened, planned, texts),
        default=_choice(opened, default, texts),
        texts_from={record.language.code: record.texts_from for record in evidence},
        loses_most=worst if planned.coverage[worst] < 1 - 1e-9 else None,
        command=tuple(command_line(model, Path(OUT), config, limit)),
    )


def least_tokens(opened: OpenModel, languages: Sequence[Language]) -> int:
    """How many tokens are kept for some languages whatever the size asked for."""
    required = np.array(sorted(required_tokens(opened, languages)), dtype=np.int64)
    return len(opened.vocabulary.close(required))


def fitting_size(opened: OpenModel, budget: Budget, least: int, multiple: int = 1) -> int:
    """The most tokens whose model keeps to a budget.

    Raises:
        InputError: It does not even hold the tokens that must be kept; the least budget that does is named.
    """

    def cost(rows: int) -> int:
        return model_cost(opened, rows).of(budget.unit)

    needed = cost(least + -least % multiple)
    if needed > budget.value:
        fixed = cost(0)
        part = f"the part that is no vocabulary alone takes {budget_text(fixed, budget.unit)}"
        if fixed <= budget.value:
            part = f"{part}, and {least:,} tokens must be kept (special ones and the scripts' characters)"
        raise InputError(
            f"--budget {budget}: too small for {opened.source.name}: {part}. The least budget is "
            f"{budget_text(needed, budget.unit)} ({needed:,} {budget.unit})"
        )
    return largest_size(cost, budget.value, opened.vocabulary.size, multiple)


def model_cost(opened: OpenModel, rows: int) -> Cost:
    """What the model takes with so many rows in its vocabulary tables, padding among them.

    Files are counted as a trim writes them, header included; those without a vocabulary table stay as they are.
    """
    checkpoint, axes = opened.checkpoint, opened.axes.axes
    size = parameters = 0
    for file in checkpoint.files:
        tensors = [info for info in checkpoint.tensors.values() if info.file == file]
        shapes = [_shape(info, axes.get(info.name, ()), rows) for info in tensors]
        parameters += sum(map(math.prod, shapes))
        if not any(info.name in axes for info in tensors):
            size += safe_file(checkpoint.root, file).stat().st_size
            continue
        entries = [
            (info.name, info.dtype, shape, _nbytes(info, shape))
            for info, shape in zip(tensors, shapes, strict=True)
        ]
        # Where cut tables would put others out of alignment they are written in another order, which may change
        # the digits of their places.
        orders = (entries, sorted(entries, key=lambda entry: -checkpoint.tensors[entry[0]].alignment))
        metadata = checkpoint.metadata[file]
        size += max(len(encode_header(order, metadata)) for order in orders)
        size += sum(nbytes for *_, nbytes in entries)
    return Cost(bytes=size, parameters=parameters)


def _shape(info: TensorInfo, axes: Sequence[int], rows: int) -> tuple[int, ...]:
    return tuple(rows if axis in axes else length for axis, length in enumerate(info.shape))


def _nbytes(info: TensorInfo, shape: tuple[int, ...]) -> int:
    """Of a tensor with the same type; values of less than a byte are never cut, so their shape is the same."""
    return info.nbytes if shape == info.shape else info.itemsize * math.prod(shape)


def _whole(opened: OpenModel) -> Cost:
    files = (safe_file(opened.checkpoint.root, file) for file in opened.checkpoint.files)
    return Cost(
        bytes=sum(file.stat().st_size for file in files),
        parameters=sum(math.prod(info.shape) for info in opened.checkpoint.tensors.values()),
    )


def _choice(opened: OpenModel, trimmed: TrimPlan, texts: Mapping[str, Sequence[Sequence[int]]]) -> Choice:
    rows = len(trimmed.keep_ids) + trimmed.pad_rows
    kept = np.zeros(opened.vocabulary.size, dtype=np.bool_)
    kept[trimmed.keep_ids] = True
    return Choice(
        tokens=len(trimmed.keep_ids),
        rows=rows,
        cost=model_cost(opened, rows),
        coverage=dict(trimmed.coverage),
        unchanged={
            code: float(np.mean([kept[ids].all() for ids in encoded])) if encoded else None
            for code, encoded in texts.items()
        },
    )


def _held_out(opened: OpenModel, evidence: Sequence[Evidence]) -> dict[str, list[list[int]]]:
    """Token ids of each language's held-out texts."""
    tokenizer = opened.vocabulary.tokenizer
    return {record.language.code: list(encode_ids(tokenizer, record.texts)) for record in evidence}
