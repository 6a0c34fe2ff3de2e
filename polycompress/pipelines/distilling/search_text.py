"""Mini-batches for a search without training: texts cut into tokens, some of them to be told."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.corpora import CorpusSpec, read_texts
from polycompress.errors import InputError
from polycompress.pipelines.trimming.gathering import Evidence
from polycompress.pipelines.trimming.loading import OpenModel
from polycompress.vocab.frequencies import word_buckets

Ids = NDArray[np.int64]

WORDS_OF_A_TEXT: Final = 12
"""Words of a list that are put together where there is no text."""
TOLD_SHARE: Final = 0.15
"""Of a batch's tokens: as many as masked language modelling takes."""
MAX_TEXTS: Final = 2000
"""Read of a language's corpus where none of it was held out, or words of its list."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SearchBatch:
    """Some texts, in the ids of the teacher's vocabulary."""

    ids: Ids
    """(B, n), padded; what is to be told is masked, where the model has such a token."""
    mask: NDArray[np.bool_]
    """(B, n), True for tokens."""
    rows: Ids
    """(M,) the texts, and"""
    columns: Ids
    """(M,) the places, whose states tell"""
    labels: Ids
    """(M,) which of the classes."""
    classes: Ids
    """(C,) ids."""


def search_texts(
    evidence: Sequence[Evidence], corpora: Sequence[CorpusSpec], count: int, seed: int
) -> list[str]:
    """Texts of some languages, as many of each as there are, in an order that a seed decides.

    Args:
        evidence: Of each language. Where there is no text of it, common words of its list are put together.
        corpora: Read where nothing was held out.
        count: Texts wanted in all.
        seed: Of the order.

    Raises:
        InputError: There is no text at all.
    """
    draws = np.random.default_rng(seed)
    by_language = []
    for record in evidence:
        if record.corpus is None:
            common = (
                word for bucket in word_buckets(record.language) for word in bucket if not word[0].isdigit()
            )
            words = list(itertools.islice(common, MAX_TEXTS))
            words = [words[each] for each in draws.permutation(len(words))]
            starts = range(0, len(words), WORDS_OF_A_TEXT)
            by_language.append([" ".join(words[begin : begin + WORDS_OF_A_TEXT]) for begin in starts])
            continue
        own = [spec for spec in corpora if spec.language == record.language]
        texts = list(record.texts) or [
            text for spec in own for text in itertools.islice(read_texts(spec), MAX_TEXTS)
        ]
        by_language.append([texts[each] for each in draws.permutation(len(texts))])
    turns = itertools.zip_longest(*by_language)
    found = [text for turn in turns for text in turn if text][:count]
    if not found:
        raise InputError("There is no text to score students on. Give some with --corpus.")
    return found


def make_batches(
    opened: OpenModel,
    texts: Sequence[str],
    *,
    roles: Mapping[str, int | None],
    causal: bool,
    size: int,
    length: int,
    seed: int,
) -> list[SearchBatch]:
    """Cut texts into tokens and choose those that are to be told.

    Args:
        opened: The teacher.
        texts: At least one.
        roles: Ids of ``pad`` and ``mask``, see ``token_roles``.
        causal: A token's state tells the next token; else its own, which is masked where there is such a token.
        size: Texts of a batch.
        length: Tokens of a text at most.
        seed: Of the choice.

    Raises:
        InputError: No text has two tokens that are not special.
    """
    draws = np.random.default_rng(seed)
    special = np.fromiter(opened.vocabulary.special, dtype=np.int64)
    encoded = [
        np.array(each.ids[:length], np.int64)
        for each in opened.vocabulary.tokenizer.encode_batch(list(texts))
    ]
    encoded = [ids for ids in encoded if np.count_nonzero(~np.isin(ids, special)) > 1]
    if not encoded:
        raise InputError(
            "No text has two tokens or more, so none can be told from the others. Give longer text."
        )
    pad = roles["pad"] or 0
    batches = []
    for begin in range(0, len(encoded), size):
        part = encoded[begin : begin + size]
        ids = np.full((len(part), max(map(len, part))), pad, np.int64)
        mask = np.zeros(ids.shape, np.bool_)
        for row, each in enumerate(part):
            ids[row, : len(each)] = each
            mask[row, : len(each)] = True
        batches.append(_with_task(ids, mask, special, None if causal else roles["mask"], causal, draws))
    return batches


def token_roles(opened: OpenModel, tokenizer_config: Mapping[str, Any]) -> dict[str, int | None]:
    """Ids of the tokens for padding and masking, None where there is none."""
    found: dict[str, int | None] = {}
    for role in ("pad", "mask"):
        token = tokenizer_config.get(f"{role}_token")
        token = token.get("content") if isinstance(token, dict) else token
        found[role] = opened.vocabulary.tokenizer.token_to_id(token) if isinstance(token, str) else None
    configured = opened.config.get("pad_token_id")
    if found["pad"] is None and isinstance(configured, int) and configured >= 0:
        found["pad"] = configured
    return found


def _with_task(
    ids: Ids,
    mask: NDArray[np.bool_],
    special: Ids,
    mask_id: int | None,
    causal: bool,
    draws: np.random.Generator,
) -> SearchBatch:
    tellable = mask & ~np.isin(ids, special)
    if causal:
        tellable[:, 0] = False  # nothing stands before it
    rows, columns = np.nonzero(tellable)
    count = max(2, round(TOLD_SHARE * len(rows)))
    chosen = np.sort(draws.permutation(len(rows))[:count])
    rows, columns = rows[chosen], columns[chosen]
    classes, labels = np.unique(ids[rows, columns], return_inverse=True)
    shown = ids.copy()
    if mask_id is not None:
        shown[rows, columns] = mask_id
    return SearchBatch(
        ids=shown,
        mask=mask,
        rows=rows,
        columns=columns - int(causal),
        labels=labels.astype(np.int64),
        classes=classes,
    )
