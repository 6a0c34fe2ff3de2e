"""From logits to answers: classes, tags of words, spans of contexts. numpy alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polycompress.evaluation.encoding import Encoded
from polycompress.evaluation.records import QuestionExample, WordsExample


def decode_classes(logits: Sequence[NDArray[np.float32]]) -> NDArray[np.int64]:
    """The class with the largest logit; the first of equal ones.

    Args:
        logits: (C,) of each example.

    Returns:
        (n,) places in the task's labels.
    """
    if not len(logits):
        return np.zeros(0, dtype=np.int64)
    found: NDArray[np.int64] = np.stack(list(logits)).argmax(axis=1)
    return found


def decode_tags(
    examples: Sequence[WordsExample],
    encoded: Sequence[Encoded],
    logits: Sequence[NDArray[np.float32]],
    labels: Sequence[str],
) -> list[list[str]]:
    """A tag for every word: that of its first token.

    Args:
        examples: The sentences.
        encoded: What ``encode_words`` made of them.
        logits: (T, C) of each of ``encoded``.
        labels: The C tags. A word without a token is outside of every name (``O``).

    Returns:
        For each sentence as many tags as it has words.
    """
    outside = "O" if "O" in labels else labels[0]
    found = [[outside] * len(example.words) for example in examples]
    for row, scores in zip(encoded, logits, strict=True):
        if row.word_starts is None:
            raise ValueError("only what encode_words gives has words")
        places = np.flatnonzero(row.word_starts >= 0)
        tags = scores[places].argmax(axis=1)
        for word, tag in zip(row.word_starts[places].tolist(), tags.tolist(), strict=True):
            found[row.example][word] = labels[tag]
    return found


def decode_answers(
    examples: Sequence[QuestionExample],
    encoded: Sequence[Encoded],
    logits: Sequence[NDArray[np.float32]],
    *,
    max_answer_tokens: int = 30,
    n_best: int | None = None,
) -> dict[str, str]:
    """The best span of each context: begin and end logits add up to the most, over all windows.

    Args:
        examples: The questions.
        encoded: What ``encode_questions`` made of them.
        logits: (T, 2) begin and end, of each of ``encoded``.
        max_answer_tokens: Tokens of an answer at most.
        n_best: Only so many of the best begins and ends of a window are paired, as scripts for SQuAD do; None: all.

    Returns:
        Text by the example's key, as the context writes it; empty where no token of the context was seen.
    """
    found = {example.key: "" for example in examples}
    best: dict[int, float] = {}
    for row, scores in zip(encoded, logits, strict=True):
        if row.offsets is None:
            raise ValueError("only what encode_questions gives has spans")
        span = best_span(scores, row.offsets, max_answer_tokens, n_best)
        if span is None or span[0] <= best.get(row.example, -np.inf):
            continue
        best[row.example] = span[0]
        example = examples[row.example]
        begin, end = int(row.offsets[span[1], 0]), int(row.offsets[span[2], 1])
        found[example.key] = example.context[begin:end].strip()
    return found


def best_span(
    scores: NDArray[np.float32],
    offsets: NDArray[np.int32],
    max_answer_tokens: int,
    n_best: int | None = None,
) -> tuple[float, int, int] | None:
    """The best span of a window.

    Args:
        scores: (T, 2) begin and end logits.
        offsets: (T, 2) spans of the tokens; those of the context have a character.
        max_answer_tokens: Tokens of a span at most.
        n_best: Begins and ends that are paired; None: all.

    Returns:
        Its score and its first and last token; None where there is none. Of equal ones the one that begins first, then
        the shortest.
    """
    usable = (offsets[:, 0] >= 0) & (offsets[:, 1] > offsets[:, 0])
    begins, ends = (
        _largest(np.where(usable, scores[:, side].astype(np.float64), -np.inf), n_best) for side in (0, 1)
    )
    size = min(max_answer_tokens, len(begins))
    padded = np.concatenate([ends, np.full(size, -np.inf)])
    spans = begins[:, None] + np.lib.stride_tricks.sliding_window_view(padded, size)[: len(begins)]
    first, more = divmod(int(spans.argmax()), size)
    score = float(spans[first, more])
    return (score, first, first + more) if np.isfinite(score) else None


def _largest(values: NDArray[np.float64], count: int | None) -> NDArray[np.float64]:
    """Values other than the largest few become -inf."""
    if count is None or count >= len(values):
        return values
    kept = np.argsort(-values, kind="stable")[:count]
    found = np.full_like(values, -np.inf)
    found[kept] = values[kept]
    return found
