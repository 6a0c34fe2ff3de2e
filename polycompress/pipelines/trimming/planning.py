"""What a trim will do, decided before anything is written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycompress.languages import Language
from polycompress.modeldir.axes import parameter_parts
from polycompress.modeldir.directory import stale_files
from polycompress.modeldir.tensors import RowSlice
from polycompress.pipelines.trimming.cuts import vocab_slices
from polycompress.pipelines.trimming.gathering import Evidence
from polycompress.pipelines.trimming.keeping import required_tokens
from polycompress.pipelines.trimming.loading import OpenModel
from polycompress.vocab.kinds import kind_of
from polycompress.vocab.selection import Limit, select_ids


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
    frequencies = [found / found.sum() for found in counted if found.any()]
    selection = select_ids(
        {record.language.code: record.shares for record in evidence},
        required,
        limit,
        close=vocabulary.close,
        counts=np.maximum.reduce(counted).astype(np.int64) if counted else None,
        frequencies=np.maximum.reduce(frequencies) if frequencies else None,
    )
    kept = len(selection.keep_ids)
    pad_rows = -kept % pad_to_multiple_of
    slices = vocab_slices(opened.axes, selection.keep_ids, pad_rows)
    return TrimPlan(
        source=opened.source.name,
        model_type=str(opened.config.get("model_type", "unknown")),
        tokenizer_type=kind_of(vocabulary.document).spelling,
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
