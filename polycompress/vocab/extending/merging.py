"""Byte-pair merges over any symbols: which neighbours, joined everywhere, save the most symbols. A pure function.

Training of BPE, begun not with characters but with the tokens that a tokenizer makes of words today: the first merge is
the pair of tokens that would save the most if it were one, and so on. For a BPE tokenizer that is its own training,
continued.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

REPORT_EVERY: Final = 200
"""Merges between two calls of the progress callback."""


@dataclass(frozen=True, slots=True)
class Merge:
    """Two neighbours made one."""

    left: int
    right: int
    made: int
    """Symbol of the result."""
    saves: int
    """Symbols saved in the words it was found in, each word as often as it weighs."""


def merge_pairs(
    words: Sequence[Sequence[int]],
    weights: Sequence[int],
    *,
    most: int,
    least: int = 1,
    join: Callable[[int, int], int | None],
    progress: Callable[[int], None] | None = None,
) -> list[Merge]:
    """Find merges, the one that saves most first.

    Args:
        words: Symbols of each word; a negative one joins nothing.
        weights: How often each word counts, not below 0.
        most: At most so many merges.
        least: No merge that saves fewer symbols.
        join: The symbol of two joined ones, the same whenever it is asked; None where they must not be joined.
        progress: Told of merges made.

    Returns:
        The merges in the order in which they are to be made. Ties go to the pair of the smallest symbols, so the order
        of the words does not matter.

    Reference:
        Sennrich, Haddow and Birch, "Neural Machine Translation of Rare Words with Subword Units" (ACL 2016),
        algorithm 1.
    """
    state = _State(words, weights)
    merges: list[Merge] = []
    forbidden: set[tuple[int, int]] = set()
    while len(merges) < most and (best := state.pop(forbidden)) is not None:
        (left, right), saves = best
        if saves < least:
            break
        made = join(left, right)
        if made is None:
            forbidden.add((left, right))
            continue
        state.merge(left, right, made)
        merges.append(Merge(left, right, made, saves))
        if progress is not None and len(merges) % REPORT_EVERY == 0:
            progress(REPORT_EVERY)
    if progress is not None:
        progress(len(merges) % REPORT_EVERY)
    return merges


class _State:
    """Words as they stand, how often each pair occurs in them, and a heap of pairs that may be out of date."""

    def __init__(self, words: Sequence[Sequence[int]], weights: Sequence[int]) -> None:
        self._words = [list(word) for word in words]
        self._weights = weights
        self._counts: defaultdict[tuple[int, int], int] = defaultdict(int)
        self._places: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
        for number, word in enumerate(self._words):
            self._add(number, word, weights[number])
        self._heap = [(-count, pair) for pair, count in self._counts.items() if count > 0]
        heapq.heapify(self._heap)

    def pop(self, forbidden: set[tuple[int, int]]) -> tuple[tuple[int, int], int] | None:
        """The most frequent pair, the smallest among equals; None where no pair is left."""
        while self._heap:
            negative, pair = heapq.heappop(self._heap)
            count = self._counts.get(pair, 0)
            if count <= 0 or pair in forbidden:
                continue
            if count == -negative:
                return pair, count
            if count < -negative:  # it has become rarer since: back to its place
                heapq.heappush(self._heap, (-count, pair))
        return None

    def merge(self, left: int, right: int, made: int) -> None:
        """Join a pair everywhere, from the left of each word."""
        changed: set[tuple[int, int]] = set()
        for number in sorted(self._places.pop((left, right), ())):
            word, weight = self._words[number], self._weights[number]
            new, place = [], 0
            while place < len(word):
                if word[place] == left and place + 1 < len(word) and word[place + 1] == right:
                    new.append(made)
                    place += 2
                else:
                    new.append(word[place])
                    place += 1
            self._add(number, word, -weight)
            self._words[number] = new
            changed |= self._add(number, new, weight)
        self._counts.pop((left, right), None)
        for pair in changed:
            if self._counts[pair] > 0:
                heapq.heappush(self._heap, (-self._counts[pair], pair))

    def _add(self, number: int, word: Sequence[int], weight: int) -> set[tuple[int, int]]:
        found = set()
        previous, overlapping = None, False
        for pair in itertools.pairwise(word):
            if pair[0] < 0 or pair[1] < 0:
                previous = None
                continue
            # In "aaa" only one of the two pairs can be joined.
            overlapping = pair == previous and pair[0] == pair[1] and not overlapping
            previous = pair
            if overlapping:
                continue
            self._counts[pair] += weight
            if weight > 0:
                self._places[pair].add(number)
                found.add(pair)
        return found
