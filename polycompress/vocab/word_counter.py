"""Counts of distinct words, turned into token counts whenever they fill the memory they may use."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from polycompress.vocab.encoding import TokenCounter, batched, encode, flat_ids
from polycompress.vocab.parting import part
from polycompress.vocab.splitting import WordRule, harmful_among
from polycompress.vocab.word_lines import JOINED_CHARACTERS, LineSender, lines_with
from polycompress.vocab.word_table import WordTable, available

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_DISTINCT_WORDS: Final = 1 << 18
MAX_DISTINCT_CHARACTERS: Final = 1 << 25
"""Of all distinct words together: where there are no spaces, a word is a sentence."""
SELF_CHECK_LINES: Final = 64
SELF_CHECK_CHARACTERS: Final = 1 << 11
"""The rule is checked on so many of the first lines that hold several words, fewer at a time where these are long;
lines before the first of them are tokenised as they are."""
NEW_SHARE: Final = 0.8
"""Where so much of the text is words not met before, counting words costs more than it saves."""
JUDGED_CHARACTERS: Final = 1 << 15
"""So much text is looked at to see whether its words repeat; where they do not, as much is tokenised line by line
before the next look, and twice as much each time that it is the same, up to ``LONGEST_SKIP`` times as much."""
LONGEST_SKIP: Final = 128
TABLE_FROM: Final = 1 << 22
"""Once the words of so many characters have been counted in Python, a ``WordTable`` goes on where pyarrow is there."""
TABLE_CHARACTERS: Final = 1 << 20
"""A table is given so much text at a time, if its words repeat."""


class WordCounter:
    """Counts of words so far."""

    def __init__(self, tokenizer: Tokenizer, rule: WordRule, tokens: TokenCounter) -> None:
        self.rule = rule
        """How lines are cut; it changes where the first lines show that the tokenizer breaks it."""
        self._tokenizer = tokenizer
        self._sender = LineSender(tokens)
        self._words: Counter[str] = Counter()
        """Where the first words of lines differ, all others stand behind their space."""
        self._characters = 0
        self._table: WordTable | None = None
        self._counted = 0
        self._pool: list[str] = []
        self._pooled = 0
        self._checked = 0
        self._doubtful = True
        self._parting = False
        self._skip = 0
        self._next_skip = 1

    @property
    def tokenised(self) -> int:
        """UTF-8 bytes given to the tokenizer."""
        return self._sender.tokenised

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
        if self.rule.independent and self._doubtful and self._skip <= 0:
            self._decide(lines)
        few = self._checked < (SELF_CHECK_LINES if self._skip <= 0 else 1)
        if self.rule.independent and few:
            self._check(lines)
        if not self.rule.independent or not self._checked:
            self._sender.add_lines(lines)
            return
        if self._skip > 0:
            self._skip -= self._sender.add_joined(lines, self.rule)
            return
        self._sender.add_lines(self._count_words(lines))
        if self._table is not None:
            self._make_room_in(self._table)
        elif len(self._words) > MAX_DISTINCT_WORDS or self._characters > MAX_DISTINCT_CHARACTERS:
            self._make_room()
        elif self._counted > TABLE_FROM and available():
            self._table = WordTable()
            self._table.take_over(self._words, first_differs=self.rule.first_differs)
            self._words = Counter()

    def finish(self) -> None:
        """Tokenise the words that are left."""
        self._empty_pool()
        self._give_all()

    def _give_all(self) -> None:
        if self._table is not None:
            self._sender.add_table(self._table.pop(once=False), self.rule)
        self._sender.add_words(self._words, self.rule)
        self._words.clear()
        self._characters = 0

    def _count_words(self, lines: list[str]) -> list[str]:
        """Count the words of lines; those lines that must be tokenised whole are left out and returned."""
        whole: list[str] = []
        across = self.rule.across
        together = "\n".join(lines)
        if together.count("\n") >= len(lines) or (across is not None and across.search(together)):
            whole = [line for line in lines if "\n" in line or (across is not None and across.search(line))]
            left_out = set(whole)
            together = "\n".join(lines := [line for line in lines if line not in left_out])
        if not lines:
            return whole
        if self._parting:
            together = self._part(together)
            lines = []
        self._counted += len(together)
        if self._table is not None:
            lines = lines or together.split("\n")
            left_out_numbers, fresh = self._table.add(lines, self.rule)
            self._doubtful = fresh > NEW_SHARE * len(together)
            return whole + [lines[number] for number in left_out_numbers]
        before = len(self._words)
        self._words.update(self._cut(together))
        new = "\n".join(["", *itertools.islice(reversed(self._words), len(self._words) - before)])
        if self.rule.first_differs:
            new = new.replace("\n ", "\n")
        self._characters += len(new)
        self._doubtful = len(new) > NEW_SHARE * len(together)
        harmful = harmful_among(new, self.rule)
        if "" in self._words or " " in self._words:  # spaces beside each other, or at an end
            harmful.add("")
        if harmful:
            whole += self._take_back(lines or together.split("\n"), harmful)
        return whole

    def _cut(self, together: str) -> list[str]:
        """The words of lines joined by line feeds; where first words differ, all others with the space before them."""
        if self.rule.first_differs:
            return together.replace(" ", "\n ").split("\n")
        return together.replace("\n", " ").split(" ")

    def _take_back(self, lines: list[str], harmful: set[str]) -> list[str]:
        """Uncount the lines that hold a harmful word; they are returned."""
        whole = []
        for line in lines_with(harmful, lines):
            if not harmful.isdisjoint(line.split(" ")):
                whole.append(line)
                self._words.subtract(self._cut(line))
        for word in harmful:  # never kept, so that it is new wherever it comes again
            self._words.pop(word, None)
            self._words.pop(f" {word}", None)
        return whole

    def _check(self, lines: list[str]) -> None:
        """Try the rule on the first lines that it would cut; a tokenizer that breaks it is counted line by line."""
        sample = self._first_cut(line for line in lines if " " in line) or self._first_cut(lines)
        if not sample or len(self._cut(self._part("\n".join(sample)))) <= len(sample):
            return  # lines of one word and one part show nothing
        self._checked += len(sample)
        parts = self._part("\n".join(sample)).split("\n")
        encodings = encode(self._tokenizer, [*sample, *self._words_of(parts)])
        ids = flat_ids(encodings[: len(sample)])
        if not np.array_equal(ids, flat_ids(encodings[len(sample) :])):
            self.rule = replace(self.rule, marks="anywhere")
            if not np.array_equal(ids, flat_ids(encode(self._tokenizer, self._words_of(sample)))):
                self._give_all()  # by the rule that they were cut by
                self.rule = WordRule(
                    independent=False, reason="on the corpus itself, words did not tokenise independently"
                )

    def _words_of(self, lines: list[str]) -> list[str]:
        """The words of lines as they are tokenised by themselves."""
        return [
            word if place == 0 and self.rule.first_differs else self.rule.lead + word
            for line in lines
            for place, word in enumerate(line.split(" "))
        ]

    def _first_cut(self, lines: Iterable[str]) -> list[str]:
        """Some of the first lines that the rule cuts, as many as are checked at a time."""
        across = self.rule.across
        for some in batched(
            (line for line in lines if "\n" not in line),
            SELF_CHECK_LINES - self._checked,
            SELF_CHECK_CHARACTERS,
        ):
            harmful = {"", *harmful_among("\n".join(["", *some]).replace(" ", "\n"), self.rule)}
            if found := [
                line
                for line in some
                if harmful.isdisjoint(line.split(" ")) and (across is None or not across.search(line))
            ]:
                return found
        return []

    def _decide(self, lines: list[str]) -> None:
        """Look whether the words of the first lines repeat, or were met before, or else their parts.

        If neither do, let text be counted whole.
        """
        together = "\n".join(next(batched(lines, len(lines), JUDGED_CHARACTERS)))
        self._doubtful = self._are_new(together)
        self._parting = self._doubtful and self._has_parts(together[:JOINED_CHARACTERS])
        if self._parting:
            self._doubtful = self._are_new(self._part(together))
        if self._doubtful:
            self._skip = self._next_skip * JUDGED_CHARACTERS
            self._next_skip = min(2 * self._next_skip, LONGEST_SKIP)
        else:
            self._next_skip = 1

    def _are_new(self, together: str) -> bool:
        """Whether most words of lines do not repeat, and were not met before."""
        new = set(self._cut(together)).difference(self._words)
        spaces = 0 if self.rule.first_differs else len(new)  # else most words have theirs
        return sum(map(len, new)) + spaces > NEW_SHARE * len(together)

    def _has_parts(self, together: str) -> bool:
        return len(self._part(together)) > len(together)

    def _part(self, together: str) -> str:
        """Cut lines joined by line feeds beside marks, where the rule allows it."""
        if self.rule.marks == "anywhere":
            return together
        return part(together, before_letters=self.rule.marks == "apart")

    def _make_room(self) -> None:
        """Tokenise the words seen once, most of all words and least likely to come again; if need be, all of them."""
        kept = {word: count for word, count in self._words.items() if count > 1}
        characters = sum(map(len, kept)) + len(kept)
        if len(kept) > MAX_DISTINCT_WORDS // 2 or characters > MAX_DISTINCT_CHARACTERS // 2:
            self._give_all()
            return
        self._sender.add_words({word: 1 for word, count in self._words.items() if count == 1}, self.rule)
        self._words = Counter(kept)
        self._characters = characters

    def _make_room_in(self, table: WordTable) -> None:
        """The same in a table, as soon as it has found out how many words it holds."""
        if _too_much(table, 1):
            self._sender.add_table(table.pop(once=True), self.rule)
            if _too_much(table, 2):
                self._sender.add_table(table.pop(once=False), self.rule)


def _too_much(table: WordTable, parts: int) -> bool:
    """Whether a table holds more than a part of what words may take."""
    words, size = table.size()
    return words > MAX_DISTINCT_WORDS // parts or size > 2 * MAX_DISTINCT_CHARACTERS // parts
