"""What the tokenizer is given: lines as they are or several at a time, and counted words joined to lines again."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import numpy as np

from polycompress.vocab.encoding import TokenCounter, batched
from polycompress.vocab.splitting import WordRule, harmful_among
from polycompress.vocab.word_table import Words, chunks

WORDS_PER_LINE: Final = 256
JOINED_LINES_PER_BATCH: Final = 128
WHOLE_LINES: Final = (512, 1 << 17)
"""Lines, and characters of them, that are tokenised together as they are."""
JOINED_CHARACTERS: Final = 1 << 11
"""Of lines that are joined without being cut."""
FEW: Final = 64
"""Up to so many words are looked for one by one in the lines they came from."""
_EMPTY_WORD: Final = ("  ", "\n ", " \n", "\n\n")
"""In lines between line feeds: spaces side by side or at an end, or a line of nothing."""


class LineSender:
    """Gives lines to the tokenizer."""

    def __init__(self, tokens: TokenCounter) -> None:
        self.tokenised = 0
        """UTF-8 bytes that it was given."""
        self._tokens = tokens

    def add_lines(self, lines: list[str]) -> None:
        """Lines as they are."""
        self.tokenised += len("".join(lines).encode())
        for batch in batched(lines, *WHOLE_LINES):
            self._tokens.add(batch)

    def add_joined(self, lines: list[str], rule: WordRule) -> int:
        """Lines joined to longer ones, which the library likes better; their characters."""
        together = "\n".join(["", *lines])
        words = together.replace(" ", "\n")
        harmful = harmful_among(words, rule)
        if "\n\n" in words or words.endswith("\n"):
            harmful.add("")
        feeds = rule.line_feeds if rule.first_differs else None
        if together.count("\n") > len(lines) or feeds in ("none", "behind letters") or len(harmful) > FEW:
            self.add_lines(lines)
            return len(together)
        whole = lines_with(harmful, lines)
        if whole:
            left_out = set(whole)
            lines = [line for line in lines if line not in left_out]
        separator = " " if feeds is None else "\n"
        longer, joints = [], 0
        for batch in batched(lines, WORDS_PER_LINE, JOINED_CHARACTERS):
            line = separator.join(batch)
            if rule.across is not None and rule.across.search(line):
                whole += batch
            else:
                longer.append(line)
                joints += len(batch) - 1
        self.add_lines(longer)
        self.add_lines(whole)
        if feeds is not None:
            self._take_line_feeds(joints)
        return len(together)

    def add_words(self, words: Mapping[str, int], rule: WordRule) -> None:
        """Words with their counts; where first words differ, all others stand behind their space."""
        lead, later = rule.lead, words
        if rule.first_differs:
            first = {word: count for word, count in words.items() if word[:1] != " "}
            self._add_first(_by_count(first), rule)
            later = {word[1:]: count for word, count in words.items() if word[:1] == " "}
        self._send(
            (
                (count, line)
                for count, some in _by_count(later)
                for line in joined(some, lead, WORDS_PER_LINE, rule)
            ),
            JOINED_LINES_PER_BATCH,
        )

    def add_table(self, words: Words, rule: WordRule) -> None:
        """The words of a table, longer lines of them at a time."""
        self._add_first(
            ((count, text[1:].split("\n")) for count, text in chunks(words, WORDS_PER_LINE, first=True)), rule
        )
        lead, across = rule.lead, rule.across
        drop = 0 if lead else 1  # what stands before a word in a table is a space
        self._send(
            (
                (count, line)
                for count, text in chunks(words, WORDS_PER_LINE, first=False)
                for line in (
                    [lead + word for word in text[1:].split(" ")]
                    if across is not None and across.search(text)
                    else [text[drop:]]
                )
            ),
            JOINED_LINES_PER_BATCH,
        )

    def _add_first(self, groups: Iterable[tuple[int, list[str]]], rule: WordRule) -> None:
        """First words of lines: joined by line feeds where that can be, whose own tokens are then taken away."""
        alone: list[tuple[int, str]] = []
        together: list[tuple[int, str]] = []
        feeds = 0
        for count, words in groups:
            rest = words
            if rule.line_feeds != "none":
                ended, rest = words, []
                if rule.line_feeds == "behind letters":
                    ended = [word for word in words if word[-1].isalnum()]
                    rest = [word for word in words if not word[-1].isalnum()]
                for begin in range(0, len(ended), WORDS_PER_LINE):
                    chunk = ended[begin : begin + WORDS_PER_LINE]
                    together.append((count, "\n".join(chunk)))
                    feeds += count * (len(chunk) - 1)
            alone += ((count, word) for word in rest)
        self._send(iter(together), JOINED_LINES_PER_BATCH)
        self._send(iter(alone), WORDS_PER_LINE * JOINED_LINES_PER_BATCH)
        self._take_line_feeds(feeds)

    def _take_line_feeds(self, count: int) -> None:
        """Take away the tokens of line feeds that were put between words or lines."""
        if count:
            self._tokens.add(["\n"], [-count])

    def _send(self, lines: Iterator[tuple[int, str]], size: int) -> None:
        while batch := list(itertools.islice(lines, size)):
            texts = [line for _, line in batch]
            self.tokenised += len("".join(texts).encode())
            self._tokens.add(texts, [count for count, _ in batch])


def lines_with(harmful: set[str], lines: list[str]) -> list[str]:
    """The lines that may hold some of a few words, among them all that do."""
    if len(harmful) > FEW:
        return lines
    together = "\n".join(["", *lines, ""])
    begins = np.cumsum([0, *map(len, lines)]) + np.arange(len(lines) + 1)
    places: list[int] = []
    for text in [*harmful - {""}, *(_EMPTY_WORD if "" in harmful else ())]:
        place = together.find(text)
        while place >= 0:  # a match that begins with the end of a line is in the next one
            places.append(place + text.startswith("\n"))
            place = together.find(text, place + 1)
    return [lines[number] for number in np.unique(np.searchsorted(begins, places) - 1).tolist()]


def _by_count(words: Mapping[str, int]) -> Iterator[tuple[int, list[str]]]:
    """Words by their counts, increasing; without those whose lines were all taken back."""
    names = list(words)
    counts = np.fromiter(words.values(), dtype=np.int64, count=len(words))
    order = np.argsort(counts, kind="stable")
    counts = counts[order]
    bounds = [int(np.searchsorted(counts, 1)), *(np.flatnonzero(np.diff(counts)) + 1).tolist(), len(counts)]
    for begin, end in itertools.pairwise(sorted(set(bounds))):
        if counts[begin] > 0:
            yield int(counts[begin]), [names[place] for place in order[begin:end].tolist()]


def joined(words: Iterable[str], lead: str, per_line: int, rule: WordRule) -> Iterator[str]:
    """Words joined to lines, but not where the line would hold a token that spans words."""
    iterator = iter(words)
    while chunk := list(itertools.islice(iterator, per_line)):
        line = " ".join(chunk)
        if rule.across is not None and rule.across.search(line):
            yield from (lead + word for word in chunk)
        else:
            yield lead + line
