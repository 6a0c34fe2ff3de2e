"""What a multilingual model is made of, and what each vocabulary size would buy per language."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.corpora import parse_corpora
from polycompress.languages import Language
from polycompress.modeldir.axes import parameter_parts
from polycompress.modeldir.directory import stale_files
from polycompress.pipelines.gathering import Evidence, Progress, gather_evidence
from polycompress.pipelines.keeping import required_tokens
from polycompress.pipelines.loading import (
    OpenModel,
    Vocabulary,
    architectures,
    asked_languages,
    open_model,
)
from polycompress.pipelines.trim import DEFAULT_COVERAGE
from polycompress.vocab.counting import encode_ids
from polycompress.vocab.selection import Limit, ranking, select_ids
from polycompress.vocab.splitting import word_rule

SIZES: Final = (5_000, 10_000, 15_000, 20_000, 30_000, 40_000, 60_000, 90_000, 120_000, 180_000, 250_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One vocabulary size on a language's frontier."""

    size: int
    """Tokens kept, for this language alone."""
    coverage: float
    """Share of the language's expected tokens that are kept."""
    identical: float | None
    """Share of its held-out texts all of whose tokens are kept, and which so stay as they are; None without texts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Frontier:
    """Size against what stays, for one language."""

    language: Language
    points: tuple[Point, ...]
    default: Point
    """What trimming to it keeps by default."""
    unseen: float | None
    """Good and Turing's share of tokens that the corpus never showed; None without a corpus."""
    texts: int
    texts_from: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """Everything found."""

    name: str
    model_type: str
    architectures: tuple[str, ...]
    dtypes: tuple[str, ...]
    parameters: Mapping[str, int]
    """By part; they add up to the whole."""
    bytes: int
    tokenizer_type: str
    vocab: int
    rows: int
    tied: bool
    oddities: tuple[str, ...]
    frontiers: tuple[Frontier, ...]
    together: int | None
    """Tokens that trimming to all of them keeps by default; None without languages."""
    gaps: tuple[str, ...]
    """Languages asked for that nothing is known of, with what would help."""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        plain = {
            "name": self.name,
            "model_type": self.model_type,
            "architectures": list(self.architectures),
            "dtypes": list(self.dtypes),
            "parameters": dict(self.parameters),
            "bytes": self.bytes,
            "tokenizer": {"type": self.tokenizer_type, "vocab": self.vocab, "oddities": list(self.oddities)},
            "rows": self.rows,
            "together": self.together,
            "tied": self.tied,
            "gaps": list(self.gaps),
        }
        plain["frontiers"] = {
            frontier.language.code: {
                "points": [asdict(point) for point in frontier.points],
                "default": asdict(frontier.default),
                "unseen": frontier.unseen,
                "texts": frontier.texts,
                "texts_from": frontier.texts_from,
            }
            for frontier in self.frontiers
        }
        return plain


def inspect(
    model: str | os.PathLike[str],
    *,
    langs: str | Sequence[str] = (),
    corpus: str | Sequence[str] = (),
    frequencies: bool = True,
    plot: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """Look into a model, and measure the frontier of some languages.

    Args:
        model: A directory, the word ``demo``, or ``owner/name[@revision]``.
        langs: Languages whose frontier to measure.
        corpus: ``[LANG=]PATTERN`` of text files.
        frequencies: Use the built-in word frequencies too.
        plot: Also draw the frontier into this file (.png, .svg or .pdf; extra ``report``).
        progress: Called as work goes on.

    Returns:
        What was found.

    Raises:
        InputError: The model or a corpus cannot be read.
    """
    languages = asked_languages(langs) if langs else ()
    corpora = parse_corpora([corpus] if isinstance(corpus, str) else corpus, languages)
    opened = open_model(model)
    covered = {spec.language for spec in corpora}
    known = [item for item in languages if item in covered or (frequencies and item.wordfreq is not None)]
    gaps = [
        f"{item.name} ({item.code}): no built-in word frequencies and no corpus; give --corpus {item.code}='FILES'"
        for item in languages
        if item not in known
    ]
    evidence = gather_evidence(opened.vocabulary, known, corpora, frequencies=frequencies, progress=progress)
    frontiers = measure_frontiers(opened, evidence) if evidence else ()
    if plot is not None and frontiers:
        from polycompress.report.plots import plot_frontier

        plot_frontier(
            {
                item.language.name: [(point.size, point.coverage, point.identical) for point in item.points]
                for item in frontiers
            },
            Path(plot),
            default_sizes={item.language.name: item.default.size for item in frontiers},
            unit="words" if all("words" in item.texts_from for item in frontiers) else "texts",
        )
    tensors = opened.checkpoint.tensors
    return Inspection(
        name=opened.source.name,
        model_type=str(opened.config.get("model_type", "unknown")),
        architectures=tuple(architectures(opened.config)),
        dtypes=tuple(sorted({info.dtype for info in tensors.values()})),
        parameters=parameter_parts(opened.config, tensors, opened.axes),
        bytes=sum(info.nbytes for info in tensors.values()),
        tokenizer_type=str(opened.vocabulary.document["model"].get("type")),
        vocab=opened.vocabulary.size,
        rows=opened.axes.rows,
        tied=opened.axes.tied,
        oddities=tuple(oddities(opened)),
        frontiers=frontiers,
        together=default_size(opened, evidence) if evidence else None,
        gaps=tuple(gaps),
    )


def measure_frontiers(
    opened: OpenModel, evidence: Sequence[Evidence], sizes: Sequence[int] = SIZES
) -> tuple[Frontier, ...]:
    """Coverage and share of unchanged held-out texts by vocabulary size, for each language on its own."""
    return tuple(_frontier(opened, record, sizes) for record in evidence)


def default_size(opened: OpenModel, evidence: Sequence[Evidence]) -> int:
    """Tokens that trimming to these languages together keeps by default."""
    selection = select_ids(
        {record.language.code: record.shares for record in evidence},
        required_tokens(opened, [record.language for record in evidence]),
        Limit(by="coverage", value=DEFAULT_COVERAGE),
        close=opened.vocabulary.close,
    )
    return len(selection.keep_ids)


def _frontier(opened: OpenModel, record: Evidence, sizes: Sequence[int]) -> Frontier:
    vocabulary = opened.vocabulary
    required = required_tokens(opened, [record.language])
    base = vocabulary.close(np.array(sorted(required), dtype=np.int64))
    order = ranking({record.language.code: record.shares}, base)
    ranks = np.full(vocabulary.size, vocabulary.size, dtype=np.int64)
    ranks[order] = np.arange(len(order))
    default = default_size(opened, [record])
    grid = sorted({*(size for size in sizes if len(base) <= size < len(order)), default, len(order)})
    reached = np.cumsum(record.shares[order])
    needed = _largest_ranks(vocabulary, record, ranks)
    points = tuple(
        Point(
            size=size,
            coverage=float(reached[min(size, len(order)) - 1]),
            identical=None if needed is None else float(np.mean(needed < size)),
        )
        for size in grid
    )
    return Frontier(
        language=record.language,
        points=points,
        default=next(point for point in points if point.size == default),
        unseen=record.unseen,
        texts=0 if needed is None else len(needed),
        texts_from=record.texts_from,
    )


def oddities(opened: OpenModel) -> list[str]:
    """What about this tokenizer and its tables surprises people."""
    document = opened.vocabulary.document
    model: Mapping[str, Any] = document["model"]
    found: list[str] = []
    spare = opened.axes.rows - opened.vocabulary.size
    if spare:
        found.append(f"the tables have {spare:,} rows more than the tokenizer has tokens")
    added = [token for token in document.get("added_tokens") or () if not token.get("special")]
    if added:
        found.append(f"{len(added):,} added tokens that are not special, such as {added[0]['content']!r}")
    if model.get("byte_fallback"):
        found.append("byte fallback: characters without a piece become bytes, none is unknown")
    if model.get("ignore_merges"):
        found.append("ignore_merges: a whole word that is a token is taken as it is")
    rules = set(opened.vocabulary.special.values())
    if "minimum score" in rules:
        found.append("its piece of lowest score sets the price of unknown characters and is always kept")
    rule = word_rule(document)
    if not rule.independent:
        found.append(f"lines must be counted whole: {rule.reason}")
    for name in ("truncation", "padding"):
        if document.get(name):
            found.append(f"tokenizer.json switches {name} on")
    stale = stale_files(opened.source.path)
    if stale:
        found.append(f"files of a slow tokenizer that a trim leaves behind: {', '.join(stale)}")
    if opened.axes.heads and not opened.axes.tied:
        found.append(
            f"the output table is a tensor of its own ({', '.join(opened.axes.heads)}): both are cut"
        )
    return found


def _largest_ranks(
    vocabulary: Vocabulary, record: Evidence, ranks: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """(texts,) the rank of each held-out text's rarest token; None without texts."""
    if not record.texts:
        return None
    texts = encode_ids(vocabulary.tokenizer, record.texts)
    return np.array([ranks[ids].max(initial=0) for ids in texts], dtype=np.int64)
