"""Count the tokens of texts, each distinct word once.

A tokenizer spends its time on words it has seen before. Where words are independent of each other (``splitting``),
the distinct words of a corpus are counted in Python, words with equal counts are joined into lines again, and each
line is tokenised once: its token counts, times the count, add up to the counts of the whole corpus, exactly.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError, PolycompressError
from polycompress.vocab.splitting import WordRule, all_plain, not_plain, word_rule

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

WORDS_PER_LINE: Final = 256
LINES_PER_BATCH: Final = 1024
JOINED_LINES_PER_BATCH: Final = 128
MAX_DISTINCT_WORDS: Final = 1_000_000
SELF_CHECK_LINES: Final = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """What was counted in some texts."""

    counts: NDArray[np.int64]
    """(V,) occurrences of each token id; special tokens that a template would add are not counted."""
    texts: int
    characters: int
    bytes: int
    """UTF-8 bytes of the texts, line ends not included."""
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

    Args:
        tokenizer: Made from ``document``, truncation and padding off.
        document: The ``tokenizer.json`` state, which decides how lines may be cut.
        texts: Lines; none is kept in memory.
        vocab_size: V, one more than the highest token id.
        progress: Called with the number of bytes read since the last call.

    Returns:
        The tally; its counts equal those of tokenising every line on its own.
    """
    counter = _WordCounter(tokenizer, word_rule(document), vocab_size)
    texts_seen = characters = size = 0
    for batch in batched(texts, LINES_PER_BATCH):
        counter.add(batch)
        together = "".join(batch)
        batch_bytes = len(together.encode())
        texts_seen += len(batch)
        characters += len(together)
        size += batch_bytes
        if progress is not None:
            progress(batch_bytes)
    return Tally(
        counts=counter.finish(), texts=texts_seen, characters=characters, bytes=size, rule=counter.rule
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
        (weight, line) for weight, words in groups.items() for line in _lines(words, lead, per_line, rule)
    )
    _add_weighted(tokenizer, lines, totals, progress)
    return totals


def encode_ids(tokenizer: Tokenizer, texts: Iterable[str]) -> Iterator[list[int]]:
    """Token ids of every text, without special tokens, a batch at a time on all cores."""
    for batch in batched(texts, LINES_PER_BATCH):
        for encoding in _encode(tokenizer, batch):
            yield encoding.ids


@contextmanager
def segmenting() -> Iterator[None]:
    """Turn what the tokenizers library raises while it segments text into errors of ours.

    Raises:
        InputError: It refuses: the tokenizer has no token for something in the text and none for the unknown.
        PolycompressError: It panics.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except Exception as error:
        raise InputError(
            f"tokenizer.json: the tokenizers library cannot segment text with it: {error}. Check the tokenizer with "
            "some text of your own; a model that names its unknown token can segment any"
        ) from error
    except BaseException as error:  # a panic of the library is no Exception
        raise PolycompressError(
            f"tokenizer.json: the tokenizers library panicked while segmenting text with it: {error}. The file is "
            "damaged, or this is a bug of that library; fetch the file again, or try another version of tokenizers"
        ) from error


def batched(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """Lists of at most ``size`` items (``itertools.batched`` is of Python 3.12)."""
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


class _WordCounter:
    """Counts of words so far, turned into token counts whenever they fill the memory they may use."""

    def __init__(self, tokenizer: Tokenizer, rule: WordRule, vocab_size: int) -> None:
        self.rule = rule
        self._tokenizer = tokenizer
        self._totals = np.zeros(vocab_size, dtype=np.int64)
        self._first: Counter[str] = Counter()
        self._later: Counter[str] = Counter()
        self._checked = 0

    def add(self, lines: list[str]) -> None:
        whole = lines
        if self.rule.independent:
            plain, whole = self._sort_out(lines)
            if not self._holds(plain):
                whole = lines
                plain = []
            self._count_words(plain)
        if whole:
            encodings = _encode(self._tokenizer, whole)
            self._totals += _bincount(encodings, len(self._totals))

    def finish(self) -> NDArray[np.int64]:
        self._flush()
        return self._totals

    def _sort_out(self, lines: list[str]) -> tuple[list[str], list[str]]:
        """Lines that may be cut into words, and lines that must be tokenised whole."""
        together = "\n".join(lines)
        finder = self.rule.whole if self.rule.whole is not None and self.rule.whole.search(together) else None
        if finder is None and all_plain(together):
            return lines, []
        plain: list[str] = []
        whole: list[str] = []
        for line in lines:
            cut = not (not_plain(line) or (finder is not None and finder.search(line)))
            (plain if cut else whole).append(line)
        return plain, whole

    def _count_words(self, plain: list[str]) -> None:
        if not self.rule.first_differs:
            self._later.update(" ".join(plain).split(" ") if plain else ())
        else:
            for line in plain:
                words = line.split(" ")
                self._first[words[0]] += 1
                self._later.update(words[1:])
        if len(self._first) + len(self._later) > MAX_DISTINCT_WORDS:
            self._flush()

    def _holds(self, plain: list[str]) -> bool:
        """Check the rule on the first lines met; a tokenizer that breaks it is counted line by line from there on."""
        sample = plain[: SELF_CHECK_LINES - self._checked]
        self._checked += len(sample)
        words = [
            word if i == 0 else self.rule.lead + word
            for line in sample
            for i, word in enumerate(line.split(" "))
        ]
        if _join(_encode(self._tokenizer, sample)).tolist() != (
            _join(_encode(self._tokenizer, words)).tolist()
        ):
            self.rule = WordRule(
                independent=False, reason="on the corpus itself, words did not tokenise independently"
            )
        return self.rule.independent

    def _flush(self) -> None:
        first_line = WORDS_PER_LINE if not self.rule.first_differs else 1
        groups = ((self._first, "", first_line), (self._later, self.rule.lead, WORDS_PER_LINE))
        for words, lead, per_line in groups:
            by_count: defaultdict[int, list[str]] = defaultdict(list)
            for word, count in words.items():
                by_count[count].append(word)
            lines = (
                (count, line)
                for count, group in by_count.items()
                for line in _lines(group, lead, per_line, self.rule)
            )
            _add_weighted(self._tokenizer, lines, self._totals)
            words.clear()


def _lines(words: Iterable[str], lead: str, per_line: int, rule: WordRule) -> Iterator[str]:
    """Words joined to lines, but not where the line would hold a token that spans words."""
    for chunk in batched(words, per_line):
        line = " ".join(chunk)
        if rule.across is not None and rule.across.search(line):
            yield from (lead + word for word in chunk)
        else:
            yield lead + line


def _add_weighted(
    tokenizer: Tokenizer,
    lines: Iterable[tuple[float, str]],
    totals: NDArray[Any],
    progress: Callable[[int], None] | None = None,
) -> None:
    """Add the token counts of lines, each times its weight (exact for whole numbers below 2 ** 53)."""
    iterator = iter(lines)
    while batch := list(itertools.islice(iterator, JOINED_LINES_PER_BATCH)):
        ids = [encoding.ids for encoding in _encode(tokenizer, [line for _, line in batch])]
        flat = np.fromiter(itertools.chain.from_iterable(ids), dtype=np.int64)
        weights = np.repeat([weight for weight, _ in batch], list(map(len, ids)))
        totals += np.bincount(flat, weights, minlength=len(totals)).astype(totals.dtype)
        if progress is not None:
            progress(sum(line.count(" ") + 1 for _, line in batch))


def _encode(tokenizer: Tokenizer, lines: list[str]) -> list[Encoding]:
    with segmenting():
        encodings: list[Encoding] = tokenizer.encode_batch_fast(lines, add_special_tokens=False)
    return encodings


def _bincount(encodings: Iterable[Encoding], vocab_size: int) -> NDArray[np.int64]:
    return np.bincount(_join(encodings), minlength=vocab_size)


def _join(encodings: Iterable[Encoding]) -> NDArray[np.int64]:
    return np.fromiter(itertools.chain.from_iterable(encoding.ids for encoding in encodings), dtype=np.int64)
