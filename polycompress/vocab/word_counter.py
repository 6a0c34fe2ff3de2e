"""Counts of distinct words, turned into token counts whenever they fill the memory they may use."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from polycompress.vocab.encoding import TokenCounter, batched, encode, flat_ids
from polycompress.vocab.splitting import WordRule, harmful_among, harmful_words
from polycompress.vocab.word_table import Words, WordTable, available, chunks

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WORDS_PER_LINE: Final = 256
JOINED_LINES_PER_BATCH: Final = 128
FEW: Final = 64
"""Up to so many words are looked for one by one in the lines they came from."""
MAX_DISTINCT_WORDS: Final = 1 << 18
MAX_DISTINCT_CHARACTERS: Final = 1 << 25
"""Of all distinct words together: where there are no spaces, a word is a sentence."""
SELF_CHECK_LINES: Final = 64
SELF_CHECK_CHARACTERS: Final = 1 << 12
"""The rule is checked on so many of the first lines that hold several words, fewer at a time where these are long;
lines before the first of them are tokenised as they are."""
NEW_SHARE: Final = 0.8
"""Where so much of the text is words not met before, counting words costs more than it saves."""
JUDGED_CHARACTERS: Final = 1 << 13
"""So much text is looked at to see whether its words repeat; where they do not, as much is tokenised line by line
before the next look, and twice as much each time that it is the same, up to ``LONGEST_SKIP`` times as much."""
LONGEST_SKIP: Final = 512
JOINED_CHARACTERS: Final = 1 << 11
"""Of lines that are joined without being cut."""
_EMPTY_WORD: Final = ("  ", "\n ", " \n", "\n\n")
"""In lines between line feeds: spaces side by side or at an end, or a line of nothing."""
WHOLE_LINES: Final = (512, 1 << 17)
"""Lines, and characters of them, that are tokenised together as they are."""
TABLE_FROM: Final = 1 << 22
"""Once the words of so many characters have been counted in Python, a ``WordTable`` goes on where pyarrow is there."""
TABLE_CHARACTERS: Final = 1 << 20
"""A table is given so much text at a time, if its words repeat."""


class WordCounter:
    """Counts of words so far."""

    def __init__(self, tokenizer: Tokenizer, rule: WordRule, tokens: TokenCounter) -> None:
        self.rule = rule
        """How lines are cut; it changes where the first lines show that the tokenizer breaks it."""
        self.tokenised = 0
        """UTF-8 bytes given to the tokenizer."""
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._first: Counter[str] = Counter()
        self._later: Counter[str] = Counter()
        self._characters = 0
        self._table: WordTable | None = None
        self._counted = 0
        self._pool: list[str] = []
        self._pooled = 0
        self._checked = 0
        self._doubtful = True
        self._skip = 0
        self._next_skip = 1

    def add(self, lines: list[str]) -> None:
        """Count some lines."""
        self._pool += lines
        self._pooled += sum(map(len, lines))
        if self._doubtful:
            enough = JUDGED_CHARACTERS
        else:
            enough = TABLE_CHARACTERS if self._table is not None else 0
        if self._pooled >= enough:
            self._empty_pool()

    def _empty_pool(self) -> None:
        lines, self._pool, self._pooled = self._pool, [], 0
        if not lines:
            return
        if self.rule.independent and self._checked < SELF_CHECK_LINES:
            self._check(lines)
        if not self.rule.independent or not self._checked:
            self._tokenise(lines)
            return
        if self._doubtful and self._skip <= 0:
            self._decide(lines)
        if self._skip > 0:
            self._skip -= self._tokenise_joined(lines)
            return
        self._tokenise(self._count_words(lines))
        if self._table is not None:
            self._make_room_in(self._table)
        elif (
            len(self._first) + len(self._later) > MAX_DISTINCT_WORDS
            or self._characters > MAX_DISTINCT_CHARACTERS
        ):
            self._make_room()
        elif self._counted > TABLE_FROM and available():
            self._table = WordTable()
            self._table.take_over(self._first, first=self.rule.first_differs)
            self._table.take_over(self._later, first=False)
            self._first, self._later = Counter(), Counter()

    def finish(self) -> None:
        """Tokenise the words that are left."""
        self._empty_pool()
        self._give_all()

    def _give_all(self) -> None:
        if self._table is not None:
            self._give_table(self._table.pop(once=False))
        self._give(_by_count(self._first), first=True)
        self._give(_by_count(self._later), first=False)
        self._first.clear()
        self._later.clear()

    def _tokenise(self, lines: list[str]) -> None:
        """Count lines as they are."""
        self.tokenised += len("".join(lines).encode())
        for batch in batched(lines, *WHOLE_LINES):
            self._tokens.add(batch)

    def _tokenise_joined(self, lines: list[str]) -> int:
        """Count lines without their words, joined to longer ones, which the library likes better; their characters."""
        together = "\n".join(["", *lines])
        words = together.replace(" ", "\n")
        harmful = harmful_among(words, self.rule)
        if "\n\n" in words or words.endswith("\n"):
            harmful.add("")
        feeds = self.rule.line_feeds if self.rule.first_differs else None
        if together.count("\n") > len(lines) or feeds in ("none", "behind letters") or len(harmful) > FEW:
            self._tokenise(lines)
            return len(together)
        whole = _lines_with(harmful, lines)
        if whole:
            left_out = set(whole)
            lines = [line for line in lines if line not in left_out]
        separator = " " if feeds is None else "\n"
        longer, joints = [], 0
        for batch in batched(lines, WORDS_PER_LINE, JOINED_CHARACTERS):
            line = separator.join(batch)
            if self.rule.across is not None and self.rule.across.search(line):
                whole += batch
            else:
                longer.append(line)
                joints += len(batch) - 1
        self._tokenise(longer)
        self._tokenise(whole)
        if feeds is not None:
            self._take_line_feeds(joints)
        return len(together)

    def _take_line_feeds(self, count: int) -> None:
        """Take away the tokens of line feeds that were put between words or lines."""
        if count:
            self._tokens.add(["\n"], [-count])

    def _count_words(self, lines: list[str]) -> list[str]:
        """Count the words of lines; those lines that must be tokenised whole are left out and returned."""
        whole: list[str] = []
        across = self.rule.across
        if across is not None and across.search("\n".join(lines)):
            whole = [line for line in lines if across.search(line)]
            lines = [line for line in lines if not across.search(line)]
        together = " ".join(lines)
        if "\n" in together:
            whole += [line for line in lines if "\n" in line]
            lines = [line for line in lines if "\n" not in line]
            together = " ".join(lines)
        if not lines:
            return whole
        self._counted += len(together)
        if self._table is not None:
            left_out, fresh = self._table.add(lines, self.rule)
            self._doubtful = fresh > NEW_SHARE * len(together)
            return whole + [lines[number] for number in left_out]
        if self.rule.first_differs:
            cut = [line.partition(" ") for line in lines]
            new = _update(self._first, [first for first, _, _ in cut])
            if rests := [rest for _, space, rest in cut if space]:
                new += _update(self._later, " ".join(rests).split(" "))
        else:
            new = _update(self._later, together.split(" "))
        fresh = sum(map(len, new)) + len(new)
        self._characters += fresh
        self._doubtful = fresh > NEW_SHARE * len(together)
        harmful = harmful_words(new, self.rule)
        if "" in new:  # spaces beside each other, or at an end
            harmful.add("")
        if harmful:
            whole += self._take_back(lines, harmful)
        return whole

    def _take_back(self, lines: list[str], harmful: set[str]) -> list[str]:
        """Uncount the lines that hold a harmful word; they are returned."""
        whole = []
        first = self._first if self.rule.first_differs else self._later
        for line in _lines_with(harmful, lines):
            words = line.split(" ")
            if not harmful.isdisjoint(words):
                whole.append(line)
                first[words[0]] -= 1
                for word in words[1:]:
                    self._later[word] -= 1
        for word in harmful:  # never kept, so that it is new wherever it comes again
            self._first.pop(word, None)
            self._later.pop(word, None)
        return whole

    def _check(self, lines: list[str]) -> None:
        """Try the rule on the first lines that it would cut; a tokenizer that breaks it is counted line by line."""
        several = (line for line in lines if " " in line and self._is_cut(line))
        sample = next(batched(several, SELF_CHECK_LINES - self._checked, SELF_CHECK_CHARACTERS), [])
        self._checked += len(sample)
        words = [
            word if place == 0 and self.rule.first_differs else self.rule.lead + word
            for line in sample
            for place, word in enumerate(line.split(" "))
        ]
        if flat_ids(encode(self._tokenizer, sample)).tolist() != (
            flat_ids(encode(self._tokenizer, words)).tolist()
        ):
            self._give_all()  # by the rule that they were cut by
            self.rule = WordRule(
                independent=False, reason="on the corpus itself, words did not tokenise independently"
            )

    def _is_cut(self, line: str) -> bool:
        words = line.split(" ")
        across = self.rule.across
        return not (
            "" in words
            or "\n" in line
            or harmful_words(words, self.rule)
            or (across is not None and across.search(line))
        )

    def _decide(self, lines: list[str]) -> None:
        """Look whether the words of the first lines repeat, or were met before; if not, let text be counted whole."""
        sample = next(batched(lines, len(lines), JUDGED_CHARACTERS))
        together = " ".join(sample)
        new = set(together.split(" ")).difference(self._first, self._later)
        self._doubtful = sum(map(len, new)) + len(new) > NEW_SHARE * len(together)
        if self._doubtful:
            self._skip = self._next_skip * JUDGED_CHARACTERS
            self._next_skip = min(2 * self._next_skip, LONGEST_SKIP)
        else:
            self._next_skip = 1

    def _make_room(self) -> None:
        """Tokenise the words seen once, most of all words and least likely to come again; if need be, all of them."""
        kept = [
            {word: count for word, count in words.items() if count > 1}
            for words in (self._first, self._later)
        ]
        characters = sum(sum(map(len, words)) + len(words) for words in kept)
        if sum(map(len, kept)) > MAX_DISTINCT_WORDS // 2 or characters > MAX_DISTINCT_CHARACTERS // 2:
            self._give_all()
            kept, characters = [{}, {}], 0
        else:
            for words, first in ((self._first, True), (self._later, False)):
                self._give([(1, [word for word, count in words.items() if count == 1])], first=first)
        self._first, self._later = map(Counter, kept)
        self._characters = characters

    def _make_room_in(self, table: WordTable) -> None:
        """The same in a table, as soon as it has found out how many words it holds."""
        if _too_much(table, 1):
            self._give_table(table.pop(once=True))
            if _too_much(table, 2):
                self._give_table(table.pop(once=False))

    def _give_table(self, words: Words) -> None:
        """Hand the words of a table to the tokenizer, longer lines of them at a time."""
        self._give_first(
            (count, text[1:].split("\n")) for count, text in chunks(words, WORDS_PER_LINE, first=True)
        )
        lead, across = self.rule.lead, self.rule.across
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

    def _give(self, groups: Iterable[tuple[int, list[str]]], *, first: bool) -> None:
        """Hand words with their counts to the tokenizer."""
        if first:
            self._give_first(groups)
            return
        lead = self.rule.lead
        self._send(
            (
                (count, line)
                for count, words in groups
                for line in joined(words, lead, WORDS_PER_LINE, self.rule)
            ),
            JOINED_LINES_PER_BATCH,
        )

    def _give_first(self, groups: Iterable[tuple[int, list[str]]]) -> None:
        """First words of lines: joined by line feeds where that can be, whose own tokens are then taken away."""
        alone: list[tuple[int, str]] = []
        together: list[tuple[int, str]] = []
        feeds = 0
        for count, words in groups:
            rest = words
            if self.rule.line_feeds != "none":
                anywhere = self.rule.line_feeds == "anywhere"
                ended = [word for word in words if anywhere or word[-1].isalnum()]
                rest = [] if anywhere else [word for word in words if not word[-1].isalnum()]
                for begin in range(0, len(ended), WORDS_PER_LINE):
                    chunk = ended[begin : begin + WORDS_PER_LINE]
                    together.append((count, "\n".join(chunk)))
                    feeds += count * (len(chunk) - 1)
            alone += ((count, word) for word in rest)
        self._send(iter(together), JOINED_LINES_PER_BATCH)
        self._send(iter(alone), WORDS_PER_LINE * JOINED_LINES_PER_BATCH)
        self._take_line_feeds(feeds)

    def _send(self, lines: Iterator[tuple[int, str]], size: int) -> None:
        while batch := list(itertools.islice(lines, size)):
            texts = [line for _, line in batch]
            self.tokenised += len("".join(texts).encode())
            self._tokens.add(texts, [count for count, _ in batch])


def _too_much(table: WordTable, parts: int) -> bool:
    """Whether a table holds more than a part of what words may take."""
    words, size = table.size()
    return words > MAX_DISTINCT_WORDS // parts or size > 2 * MAX_DISTINCT_CHARACTERS // parts


def _lines_with(harmful: set[str], lines: list[str]) -> list[str]:
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


def _update(counts: Counter[str], words: list[str]) -> list[str]:
    """Count words; those that are new."""
    before = len(counts)
    counts.update(words)
    return list(itertools.islice(reversed(counts), len(counts) - before))


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
