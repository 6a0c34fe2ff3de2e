"""Distinct words and their counts in Arrow's memory: hashed and joined again without a Python object for each word.

A word lies there with the character that stood before it: a space, or a line feed where it is the first of its line
and first words are told apart. So words that lie one behind the other are a line again, and nothing is ever joined.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.vocab.splitting import WordRule, harmful_numbers

MAX_WAITING_WORDS: Final = 1 << 18
MAX_WAITING_BYTES: Final = 1 << 26
"""Of the words of batches, each distinct in its own, that wait until equal ones are put together."""
_SPACE: Final = 32
_LINE_FEED: Final = 10


def available() -> bool:
    """Whether pyarrow is installed; it is not imported."""
    return importlib.util.find_spec("pyarrow") is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Words:
    """Words one behind the other, each with the character before it."""

    values: Any
    """A ``pyarrow.StringArray`` of n words."""
    counts: NDArray[np.int64]
    """(n,)."""

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def offsets(self) -> NDArray[np.int32]:
        """(n + 1,) where the words begin in ``text``, in bytes, and where the last one ends."""
        begin: int = self.values.offset
        every = np.frombuffer(self.values.buffers()[1], dtype=np.int32)
        return every[begin : begin + len(self) + 1]

    @property
    def text(self) -> NDArray[np.uint8]:
        """UTF-8 of the words."""
        buffer = self.values.buffers()[2]
        return np.frombuffer(buffer if buffer is not None else b"", dtype=np.uint8)

    def take(self, places: NDArray[np.int64]) -> Words:
        """Some of the words, in the order given."""
        import pyarrow

        # Not pyarrow.array(places), which imports pandas where that is installed.
        chosen = pyarrow.Array.from_buffers(pyarrow.int64(), len(places), [None, pyarrow.py_buffer(places)])
        return Words(values=self.values.take(chosen), counts=self.counts[places])


class WordTable:
    """Counts of words so far, equal words put together from time to time."""

    def __init__(self) -> None:
        self._words = _no_words()
        self._waiting: list[Words] = []

    def add(self, lines: Sequence[str], rule: WordRule) -> tuple[list[int], int]:
        """Count the words of lines, but of no line that must be tokenised whole.

        Args:
            lines: Without line feeds.
            rule: How they are cut.

        Returns:
            The numbers of the lines that were not counted, and the characters of the distinct words, spaces included.
        """
        values, firsts = cut(lines, first_differs=rule.first_differs)
        found = values.dictionary_encode()
        numbers = np.frombuffer(found.indices.buffers()[1], dtype=np.int32)
        distinct = Words(values=found.dictionary, counts=np.zeros(len(found.dictionary), dtype=np.int64))
        text = distinct.text.copy()
        text[distinct.offsets[:-1]] = _LINE_FEED
        together = text.tobytes().decode()
        harmful = (
            np.diff(distinct.offsets) == 1
        )  # nothing behind the space: spaces side by side, or at an end
        harmful[harmful_numbers(together, rule)] = True
        whole = np.zeros(len(lines), dtype=bool)
        if harmful.any():
            whole[np.searchsorted(firsts, np.flatnonzero(harmful[numbers]), side="right") - 1] = True
            numbers = numbers[~np.repeat(whole, np.diff(firsts, append=len(numbers)))]
        self._wait(Words(values=found.dictionary, counts=np.bincount(numbers, minlength=len(distinct))))
        return np.flatnonzero(whole).tolist(), len(together)

    def take_over(self, counts: Mapping[str, int], *, first_differs: bool) -> None:
        """Add words that were counted elsewhere; where first words differ, all others have the space before them."""
        firsts = {word: count for word, count in counts.items() if count > 0 and word[:1] != " "}
        others = {word[1:]: count for word, count in counts.items() if count > 0 and word[:1] == " "}
        for words, first in ((firsts, first_differs), (others, False)):
            values, _ = cut(list(words), first_differs=first)
            self._wait(Words(values=values, counts=np.fromiter(words.values(), dtype=np.int64)))

    def size(self) -> tuple[int, int]:
        """Distinct words, and their bytes, when equal ones were last put together."""
        return len(self._words), len(self._words.text)

    def pop(self, *, once: bool) -> Words:
        """Take words out: those counted once, or all."""
        self._merge()
        words, self._words = self._words, _no_words()
        if once:
            self._words = words.take(np.flatnonzero(words.counts > 1))
            words = words.take(np.flatnonzero(words.counts == 1))
        return words

    def _wait(self, words: Words) -> None:
        self._waiting.append(words)
        if (
            sum(map(len, self._waiting)) > MAX_WAITING_WORDS
            or sum(len(part.text) for part in self._waiting) > MAX_WAITING_BYTES
        ):
            self._merge()

    def _merge(self) -> None:
        """Put equal words together, and leave out those that only stood in lines that were not counted."""
        import pyarrow

        parts = [self._words, *self._waiting]
        found = pyarrow.concat_arrays([part.values for part in parts]).dictionary_encode()
        numbers = np.frombuffer(found.indices.buffers()[1], dtype=np.int32)
        counts = np.zeros(len(found.dictionary), dtype=np.int64)
        np.add.at(counts, numbers, np.concatenate([part.counts for part in parts]))
        self._words = Words(values=found.dictionary, counts=counts).take(np.flatnonzero(counts))
        self._waiting.clear()


def chunks(words: Words, size: int, *, first: bool) -> Iterator[tuple[int, str]]:
    """Words with equal counts, some at a time, by their counts, increasing.

    Args:
        words: To be handed out.
        size: Words of a chunk at most.
        first: Those that are the first of their line; else all others.

    Yields:
        Their count, and the words, each behind the character that stood before it.
    """
    leads = words.text[words.offsets[:-1]]
    places = np.flatnonzero((leads == _LINE_FEED) == first)
    places = places[np.argsort(words.counts[places], kind="stable")]
    chosen = words.take(places)
    offsets, text, counts = chosen.offsets, chosen.text, chosen.counts
    changes = np.flatnonzero(np.diff(counts)) + 1
    bounds = [0, *changes.tolist(), len(counts)]
    for begin, end in itertools.pairwise(bounds):
        for place in range(begin, end, size):
            last = min(place + size, end)
            yield int(counts[place]), text[offsets[place] : offsets[last]].tobytes().decode()


def cut(lines: Sequence[str], *, first_differs: bool) -> tuple[Any, NDArray[np.int64]]:
    """The words of lines.

    Args:
        lines: Without line feeds; together less than 2 GB.
        first_differs: Whether the first word of a line stays behind a line feed; else behind a space as all others.

    Returns:
        A ``pyarrow.StringArray``, each word with the character before it, and the numbers of the words that begin a
        line.
    """
    import pyarrow

    raw = np.frombuffer("\n".join(["", *lines]).encode(), dtype=np.uint8)
    between = raw == _LINE_FEED
    offsets = np.append(np.flatnonzero(between | (raw == _SPACE)), len(raw)).astype(np.int32)
    text = raw if first_differs else np.where(between, np.uint8(_SPACE), raw)
    values = pyarrow.StringArray.from_buffers(
        len(offsets) - 1, pyarrow.py_buffer(offsets), pyarrow.py_buffer(text)
    )
    return values, np.flatnonzero(between[offsets[:-1]])


def _no_words() -> Words:
    return Words(values=cut([], first_differs=False)[0], counts=np.zeros(0, dtype=np.int64))
