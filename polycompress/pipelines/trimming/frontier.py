"""What each vocabulary size would buy: size against coverage, per language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from polycompress.languages import Language
from polycompress.pipelines.trimming.gathering import Evidence
from polycompress.pipelines.trimming.keeping import required_tokens
from polycompress.pipelines.trimming.loading import OpenModel, Vocabulary
from polycompress.pipelines.trimming.request import DEFAULT_COVERAGE
from polycompress.vocab.counting import encode_ids
from polycompress.vocab.selection import Limit, ranking, select_ids

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


def measure_frontiers(
    opened: OpenModel, evidence: Sequence[Evidence], sizes: Sequence[int] = SIZES
) -> tuple[tuple[Frontier, ...], int | None]:
    """Coverage and share of unchanged held-out texts by vocabulary size.

    Args:
        opened: The source.
        evidence: One record per language.
        sizes: Vocabulary sizes to look at, beside those that matter by themselves.

    Returns:
        For each language on its own, and the tokens that trimming to all of them keeps by default; None for none.
    """
    if not evidence:
        return (), None
    required = {record.language.code: required_tokens(opened, [record.language]) for record in evidence}
    frontiers = tuple(_frontier(opened, record, required[record.language.code], sizes) for record in evidence)
    if len(evidence) == 1:
        return frontiers, frontiers[0].default.size
    all_required = {token: rule for each in required.values() for token, rule in each.items()}
    return frontiers, _default_size(opened, evidence, all_required)


def _default_size(opened: OpenModel, evidence: Sequence[Evidence], required: Mapping[int, str]) -> int:
    """Tokens that trimming to some languages together keeps by default."""
    selection = select_ids(
        {record.language.code: record.shares for record in evidence},
        required,
        Limit(by="coverage", value=DEFAULT_COVERAGE),
        close=opened.vocabulary.close,
    )
    return len(selection.keep_ids)


def _frontier(
    opened: OpenModel, record: Evidence, required: Mapping[int, str], sizes: Sequence[int]
) -> Frontier:
    vocabulary = opened.vocabulary
    base = vocabulary.close(np.array(sorted(required), dtype=np.int64))
    order = ranking({record.language.code: record.shares}, base)
    ranks = np.full(vocabulary.size, vocabulary.size, dtype=np.int64)
    ranks[order] = np.arange(len(order))
    default = _default_size(opened, [record], required)
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


def _largest_ranks(
    vocabulary: Vocabulary, record: Evidence, ranks: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """(texts,) the rank of each held-out text's rarest token; None without texts."""
    if not record.texts:
        return None
    texts = encode_ids(vocabulary.tokenizer, record.texts)
    return np.array([ranks[ids].max(initial=0) for ids in texts], dtype=np.int64)
