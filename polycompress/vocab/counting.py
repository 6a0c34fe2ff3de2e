"""Count the tokens of texts, each distinct word once.

A tokenizer spends its time on words it has seen before. Where words are independent of each other (``splitting``),
the distinct words of a corpus are counted in Python, words with equal counts are joined into lines again, and each
line is tokenised once: its token counts, times the count, add up to the counts of the whole corpus, exactly.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polycompress.vocab.encoding import (
    LINES_PER_BATCH,
    TokenCounter,
    batched,
    encode_ids,
    segmenting,
)
from polycompress.vocab.splitting import WordRule, word_rule
from polycompress.vocab.word_counter import WordCounter
from polycompress.vocab.word_lines import JOINED_LINES_PER_BATCH, WORDS_PER_LINE, joined

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Tally", "count_texts", "count_weighted", "encode_ids", "segmenting"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """What was counted in some texts."""

    counts: NDArray[np.int64]
    """(V,) occurrences of each token id; special tokens that a template would add are not counted."""
    texts: int
    characters: int
    bytes: int
    """UTF-8 bytes of the texts, line ends not included."""
    tokenised: int
    """UTF-8 bytes that were given to the tokenizer: distinct words, and lines that could not be cut or did not pay."""
    rule: WordRule
    """How lines were cut into words."""

    @property
    def tokens(self) -> int:
        """All tokens counted."""
        return int(self.counts.sum())

    @property
    def seen_once(self) -> int:
        """Distinct tokens counted exactly once: the numerator of Good and Turing's unseen share."""
        return int(np.count_nonzero(self.counts == 1))


def count_texts(
    tokenizer: Tokenizer,
    document: Mapping[str, Any],
    texts: Iterable[str],
    vocab_size: int,
    *,
    progress: Callable[[int], None] | None = None,
) -> Tally:
    """Count the tokens of texts.

    The memory it takes does not grow with the texts: a batch of lines, at most ``word_counter.MAX_DISTINCT_WORDS``
    words, and a few arrays over the vocabulary.

    Args:
        tokenizer: Made from ``document``, truncation and padding off.
        document: The ``tokenizer.json`` state, which decides how lines may be cut.
        texts: Lines; none is kept in memory.
        vocab_size: V, one more than the highest token id.
        progress: Called with the number of bytes read since the last call.

    Returns:
        The tally; its counts equal those of tokenising every line on its own.

    Raises:
        InputError: The tokenizer cannot segment one of the texts.
        PolycompressError: It panics.
    """
    totals = np.zeros(vocab_size, dtype=np.int64)
    texts_seen = characters = size = 0
    with TokenCounter(tokenizer, totals) as tokens:
        counter = WordCounter(tokenizer, word_rule(document), tokens)
        for batch in batched(texts, LINES_PER_BATCH):
            counter.add(batch)
            together = "".join(batch)
            batch_bytes = len(together.encode())
            texts_seen += len(batch)
            characters += len(together)
            size += batch_bytes
            if progress is not None:
                progress(batch_bytes)
        counter.finish()
    return Tally(
        counts=totals,
        texts=texts_seen,
        characters=characters,
        bytes=size,
        tokenised=counter.tokenised,
        rule=counter.rule,
    )


def count_weighted(
    tokenizer: Tokenizer,
    rule: WordRule,
    groups: Mapping[float, Iterable[str]],
    vocab_size: int,
    *,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float64]:
    """Sum of token counts over words, each word with a weight.

    Args:
        tokenizer: With truncation and padding off.
        rule: How its words depend on each other; where they do, each word is tokenised as a line of its own.
        groups: The words of each weight.
        vocab_size: V, one more than the highest token id.
        progress: Called with the number of words done since the last call.

    Returns:
        (V,) weighted counts.
    """
    lead, per_line = (rule.lead, WORDS_PER_LINE) if rule.independent else ("", 1)
    totals = np.zeros(vocab_size, dtype=np.float64)
    lines = (
        (weight, line) for weight, words in groups.items() for line in joined(words, lead, per_line, rule)
    )
    with TokenCounter(tokenizer, totals) as tokens:
        while batch := list(itertools.islice(lines, JOINED_LINES_PER_BATCH)):
            tokens.add([line for _, line in batch], [weight for weight, _ in batch])
            if progress is not None:
                progress(sum(line.count(" ") + 1 for _, line in batch))
    return totals
