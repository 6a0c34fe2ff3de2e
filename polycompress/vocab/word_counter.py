"""Counts of distinct words, turned into token counts whenever they fill the memory they may use."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from polycompress.vocab.encoding import TokenCounter, encode, flat_ids
from polycompress.vocab.splitting import WordRule, harmful_words

if TYPE_CHECKING:
    from tokenizers import Tokenizer

WORDS_PER_LINE: Final = 256
JOINED_LINES_PER_BATCH: Final = 128
MAX_DISTINCT_WORDS: Final = 1 << 20
MAX_DISTINCT_CHARACTERS: Final = 1 << 25
"""Of all distinct words together: where there are no spaces, a word is a sentence."""
SELF_CHECK_LINES: Final = 64
NEW_SHARE: Final = 0.8
"""Where so much of the text is words not met before, counting words costs more than it saves."""
JUDGED_CHARACTERS: Final = 1 << 17
"""So much text is judged at a time; where its words do not repeat, as much is then tokenised line by line, and twice
as much each time that the next judgement is the same, up to ``LONGEST_SKIP`` times as much."""
LONGEST_SKIP: Final = 32

_FIRST: Final = "\n"
"""Marks the first word of a line; no text that is cut holds it."""


class WordCounter:
    """Counts of words so far."""

    def __init__(self, tokenizer: Tokenizer, rule: WordRule, tokens: TokenCounter) -> None:
        self.rule = rule
        """How lines are cut; it changes where the first lines show that the tokenizer breaks it."""
        self.tokenised = 0
        """UTF-8 bytes given to the tokenizer."""
        self._tokenizer = tokenizer
        self._tokens = tokens
        self._words: Counter[str] = Counter()
        self._characters = 0
        self._checked = 0
        self._skip = 0
        self._next_skip = 1
        self._judged = 0
        self._new = 0

    def add(self, lines: list[str]) -> None:
        """Count some lines."""
        if not self.rule.independent or self._skip > 0:
            self._skip -= self._tokenise(lines)
            return
        whole = self._count_words(lines)
        if self._checked < SELF_CHECK_LINES and not self._holds(lines, whole):
            whole = lines
            self._words.clear()
        if whole:
            self._tokenise(whole)
        if len(self._words) > MAX_DISTINCT_WORDS or self._characters > MAX_DISTINCT_CHARACTERS:
            self._make_room()

    def finish(self) -> None:
        """Tokenise the words that are left."""
        self._flush(self._words)

    def _tokenise(self, lines: list[str]) -> int:
        """Count lines as they are; the characters of them."""
        together = "".join(lines)
        self.tokenised += len(together.encode())
        self._tokens.add(lines)
        return len(together)

    def _count_words(self, lines: list[str]) -> list[str]:
        """Count the words of lines; those lines that must be tokenised whole are left out and returned."""
        if self.rule.across is not None and self.rule.across.search("\n".join(lines)):
            whole = [line for line in lines if self.rule.across.search(line)]
            lines = [line for line in lines if not self.rule.across.search(line)]
        else:
            whole = []
        mark = _FIRST if self.rule.first_differs else ""
        together = mark + f" {mark}".join(lines)
        if mark and together.count(mark) > len(lines):  # some line holds the mark itself
            whole += [line for line in lines if mark in line]
            lines = [line for line in lines if mark not in line]
            together = mark + f" {mark}".join(lines)
        if not lines:
            return whole
        before = len(self._words)
        self._words.update(together.split(" "))
        new = list(itertools.islice(reversed(self._words), len(self._words) - before))
        self._judge(len(together), new)
        harmful = harmful_words(new, self.rule)
        if "" in new or mark in new:  # spaces beside each other, or at an end
            harmful.add("")
        if harmful:
            whole += self._take_back(lines, harmful)
        return whole

    def _take_back(self, lines: list[str], harmful: set[str]) -> list[str]:
        """Uncount the lines that hold a harmful word; they are returned."""
        whole = []
        mark = _FIRST if self.rule.first_differs else ""
        for line in lines:
            words = line.split(" ")
            if not harmful.isdisjoint(words):
                whole.append(line)
                words[0] = mark + words[0]
                self._words.subtract(words)
        for word in harmful:  # never kept, so that it is new wherever it comes again
            self._words.pop(word, None)
            self._words.pop(_FIRST + word, None)
        return whole

    def _judge(self, size: int, new: list[str]) -> None:
        """Look whether words repeat; if not, let the next batches be tokenised as they are."""
        fresh = sum(map(len, new)) + len(new)
        self._characters += fresh
        self._judged += size
        self._new += fresh
        if self._judged >= JUDGED_CHARACTERS:
            if self._new > NEW_SHARE * self._judged:
                self._skip = self._next_skip * JUDGED_CHARACTERS
                self._next_skip = min(2 * self._next_skip, LONGEST_SKIP)
            else:
                self._next_skip = 1
            self._judged = self._new = 0

    def _holds(self, lines: list[str], whole: list[str]) -> bool:
        """Check the rule on the first lines met; a tokenizer that breaks it is counted line by line from there on."""
        left_out = set(whole)
        plain = [line for line in lines if line not in left_out]
        sample = plain[: SELF_CHECK_LINES - self._checked]
        self._checked += len(sample)
        words = [
            word if i == 0 else self.rule.lead + word
            for line in sample
            for i, word in enumerate(line.split(" "))
        ]
        if flat_ids(encode(self._tokenizer, sample)).tolist() != (
            flat_ids(encode(self._tokenizer, words)).tolist()
        ):
            self.rule = WordRule(
                independent=False, reason="on the corpus itself, words did not tokenise independently"
            )
        return self.rule.independent

    def _make_room(self) -> None:
        """Tokenise the words seen once, most of all words and least likely to come again; if need be, all of them."""
        kept = Counter({word: count for word, count in self._words.items() if count > 1})
        characters = sum(map(len, kept)) + len(kept)
        if len(kept) > MAX_DISTINCT_WORDS // 2 or characters > MAX_DISTINCT_CHARACTERS // 2:
            self._flush(self._words)
            kept.clear()
            characters = 0
        else:
            self._flush({word: 1 for word, count in self._words.items() if count == 1})
        self._words, self._characters = kept, characters

    def _flush(self, words: Mapping[str, int]) -> None:
        by_count: defaultdict[int, list[str]] = defaultdict(list)
        by_count[1] = [word for word, count in words.items() if count == 1]
        for word, count in words.items():
            if count > 1:
                by_count[count].append(word)
        if self.rule.first_differs:
            first = (
                (count, word[1:]) for count, group in by_count.items() for word in group if word[0] == _FIRST
            )
            self._add(first, WORDS_PER_LINE * JOINED_LINES_PER_BATCH)
            for count, group in by_count.items():
                by_count[count] = [word for word in group if word[0] != _FIRST]
        lines = (
            (count, line)
            for count, group in by_count.items()
            for line in joined(group, self.rule.lead, WORDS_PER_LINE, self.rule)
        )
        self._add(lines, JOINED_LINES_PER_BATCH)

    def _add(self, lines: Iterator[tuple[int, str]], size: int) -> None:
        while batch := list(itertools.islice(lines, size)):
            texts = [line for _, line in batch]
            self.tokenised += len("".join(texts).encode())
            self._tokens.add(texts, [count for count, _ in batch])


def joined(words: Iterable[str], lead: str, per_line: int, rule: WordRule) -> Iterator[str]:
    """Words joined to lines, but not where the line would hold a token that spans words."""
    iterator = iter(words)
    while chunk := list(itertools.islice(iterator, per_line)):
        line = " ".join(chunk)
        if rule.across is not None and rule.across.search(line):
            yield from (lead + word for word in chunk)
        else:
            yield lead + line
