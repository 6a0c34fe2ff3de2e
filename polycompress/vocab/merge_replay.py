"""Replay of a BPE tokenizer's merges over words, with a record of how often each pair occurred before each merge.

BPE training counts all adjacent pairs of symbols, merges the most frequent one everywhere, and starts again. The replay
makes the same merges in the same order over other text. Every change of a pair's count is kept as an entry
``(pair, merge, word, +-1)``; counts under *any* weights of the words are then one sparse matrix product away. That is
what lets the mixture of languages be solved, and solved again for every bootstrap sample, from a single replay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.vocab.derivation import word_symbols
from polycompress.vocab.organic_merges import Ints, Organic

REPORT_EVERY: Final = 50
"""Merges between two calls of the progress callback."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairHistory:
    """How often each pair of symbols occurred before each merge; counts are linear in the words' weights.

    A segment is a stretch of merges over which one pair's count did not change. Segments are sorted by pair, then time.
    """

    pair: Ints
    """(S,) pair of each segment, 0 to P - 1."""
    begin: Ints
    """(S,) first merge before which the count holds."""
    end: Ints
    """(S,) first merge before which it holds no more."""
    merge_segment: Ints
    """(T,) the segment of each merge's own pair just before it is made; -1 where the pair never occurs."""
    entry_start: NDArray[np.int64]
    """(S + 1,) the entries that change the count at a segment's begin are those from its start to the next's."""
    entry_word: NDArray[np.int32]
    """(E,) word that an entry belongs to."""
    entry_change: NDArray[np.int8]
    """(E,) +1 or -1."""
    words: int
    """W, the number of words."""


def word_ids(words: Sequence[str], model: Mapping[str, Any]) -> tuple[Ints, Ints]:
    """Spell words in the symbols that BPE starts from.

    Args:
        words: Pre-tokenised words, each with at least one character.
        model: A checked BPE ``model`` object.

    Returns:
        (N,) id of each symbol, -1 for a character that has none, and (N,) the word each belongs to.
    """
    vocab: dict[str, int] = model["vocab"]
    mark, suffix = model.get("continuing_subword_prefix") or "", model.get("end_of_word_suffix") or ""
    if mark or suffix:
        spelt = [word_symbols(word, mark, suffix) for word in words]
        numbers = [vocab.get(symbol, -1) for symbols in spelt for symbol in symbols]
        lengths = [len(symbols) for symbols in spelt]
    else:
        text = "".join(words)
        known = {symbol: vocab.get(symbol, -1) for symbol in set(text)}
        numbers = [known[symbol] for symbol in text]
        lengths = [len(word) for word in words]
    return np.array(numbers, dtype=np.int64), np.repeat(np.arange(len(words)), lengths)


def replay(
    symbols: Ints, owner: Ints, merges: Organic, *, progress: Callable[[int], None] | None = None
) -> PairHistory:
    """Make the merges in order and record every change of a pair's count.

    Pairs are counted as trainers count them: all neighbours within a word, overlapping ones (``aaa``) included. Pairs
    with an unknown symbol, those of redundant merges and those that training did not allow are not recorded.

    Args:
        symbols: (N,) first symbols of all words, one after the other; -1 where a character is unknown.
        owner: (N,) the word of each symbol, increasing from 0.
        merges: T merges.
        progress: Called with the number of merges made since the last call.

    Returns:
        The history; its memory grows with N, not with T.
    """
    run = _Run(symbols, owner, merges)
    run.log(0, np.flatnonzero(run.key >= 0), 1)
    for row in range(len(merges.left)):
        run.merge(row)
        if progress is not None and (row + 1) % REPORT_EVERY == 0:
            progress(REPORT_EVERY)
    return _history(run, merges)


class _Run:
    """Symbols of all words as linked lists, and the places where each coming merge's pair stands."""

    def __init__(self, symbols: Ints, owner: Ints, merges: Organic) -> None:
        size = len(symbols)
        self.words = int(owner.max(initial=-1)) + 1
        self.base = 1 + int(max(symbols.max(initial=0), merges.result.max(initial=0)))
        self._merges = merges
        self._symbol, self._owner = symbols.copy(), owner.astype(np.int32)
        joined = np.zeros(size, dtype=np.bool_)
        joined[:-1] = (owner[1:] == owner[:-1]) & (symbols[1:] >= 0) & (symbols[:-1] >= 0)
        places = np.arange(size)
        self._next = np.where(joined, places + 1, -1)
        self._previous = np.full(size, -1)
        self._previous[1:] = np.where(joined[:-1], places[:-1], -1)
        self.merge_keys = merges.left * self.base + merges.right
        self._by_key = np.argsort(self.merge_keys, kind="stable")
        self._sorted_keys = self.merge_keys[self._by_key]
        self._waiting: list[list[Ints]] = [[] for _ in merges.left]
        self.entries: list[tuple[int, Ints, NDArray[np.int32], int]] = []
        self.key = np.full(size, -1)
        self._renew(places)

    def merge(self, row: int) -> None:
        """Make one merge everywhere, leftmost first, and record what it changes."""
        places = np.concatenate(self._waiting[row]) if self._waiting[row] else np.empty(0, dtype=np.int64)
        self._waiting[row] = []
        places = np.sort(places[self.key[places] == self.merge_keys[row]])
        if not len(places):
            return
        if self._merges.left[row] == self._merges.right[row]:
            places = self._without_overlaps(places)
        partners = self._next[places]
        before = self._previous[places]
        touched = np.unique(np.concatenate((before[before >= 0], places, partners)))
        self.log(row + 1, touched[self.key[touched] >= 0], -1)
        after = self._next[partners]
        self._symbol[places] = self._merges.result[row]
        self._next[places] = after
        self._previous[after[after >= 0]] = places[after >= 0]
        self.key[partners] = -1
        before = self._previous[places]
        touched = np.unique(np.concatenate((before[before >= 0], places)))
        self._renew(touched)
        self.log(row + 1, touched[self.key[touched] >= 0], 1)

    def log(self, time: int, places: Ints, change: int) -> None:
        """Record that the pairs at some places come or go."""
        if len(places):
            self.entries.append((time, self.key[places], self._owner[places], change))

    def _renew(self, places: Ints) -> None:
        """Read the pairs at some places anew, and note those that a merge waits for."""
        following = self._next[places]
        keys = np.where(
            following >= 0, self._symbol[places] * self.base + self._symbol[following], np.int64(-1)
        )
        self.key[places] = keys
        if not len(self._sorted_keys):
            return
        found = np.minimum(np.searchsorted(self._sorted_keys, keys), len(self._sorted_keys) - 1)
        wanted = np.flatnonzero(self._sorted_keys[found] == keys)
        rows = self._by_key[found[wanted]]
        order = np.argsort(rows, kind="stable")
        rows, wanted = rows[order], wanted[order]
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        for row, part in zip(rows[starts].tolist(), np.split(places[wanted], starts[1:]), strict=False):
            self._waiting[row].append(part)

    def _without_overlaps(self, places: Ints) -> Ints:
        """Of places that follow one another (``aaa``) every second one."""
        follows = np.zeros(len(places), dtype=np.bool_)
        follows[1:] = self._next[places[:-1]] == places[1:]
        starts = np.flatnonzero(~follows)
        position = np.arange(len(places)) - np.repeat(starts, np.diff(starts, append=len(places)))
        kept: Ints = places[position % 2 == 0]
        return kept


def _history(run: _Run, merges: Organic) -> PairHistory:
    total = len(merges.left)
    entries, run.entries = run.entries, []
    lengths = [len(keys) for _, keys, _, _ in entries]
    keys = np.concatenate([np.empty(0, dtype=np.int64), *(entry[1] for entry in entries)])
    dropped = merges.redundant[:, 0] * run.base + merges.redundant[:, 1]
    stays = ~np.isin(keys, dropped)
    if merges.joins is not None:
        joins = merges.joins
        stays &= joins.allowed[joins.last[keys // run.base], joins.first[keys % run.base]]
    distinct, pair = np.unique(keys[stays], return_inverse=True)
    times = np.repeat(np.array([entry[0] for entry in entries], dtype=np.int64), lengths)[stays]
    stamp = pair * (total + 1) + times
    del pair, times
    order = np.argsort(stamp)
    stamp = stamp[order]
    starts = np.flatnonzero(np.diff(stamp, prepend=-1))
    heads = stamp[starts]
    segment_pair, begin = heads // (total + 1), heads % (total + 1)
    last = np.diff(segment_pair, append=-1) != 0
    owners = np.concatenate([np.empty(0, dtype=np.int32), *(entry[2] for entry in entries)])
    changes = np.repeat(np.array([entry[3] for entry in entries], dtype=np.int8), lengths)
    return PairHistory(
        pair=segment_pair,
        begin=begin,
        end=np.where(last, total, np.roll(begin, -1)),
        merge_segment=_merge_segments(run.merge_keys, distinct, heads, total),
        entry_start=np.append(starts, len(stamp)),
        entry_word=owners[stays][order],
        entry_change=changes[stays][order],
        words=run.words,
    )


def _merge_segments(merge_keys: Ints, distinct: Ints, heads: Ints, total: int) -> Ints:
    """The last segment of each merge's pair that begins no later than the merge."""
    if not len(distinct):
        return np.full(len(merge_keys), -1)
    place = np.minimum(np.searchsorted(distinct, merge_keys), len(distinct) - 1)
    wanted = place * (total + 1) + np.arange(len(merge_keys))
    segment = np.searchsorted(heads, wanted, side="right") - 1
    occurs = (distinct[place] == merge_keys) & (segment >= 0)
    occurs &= heads[np.maximum(segment, 0)] // (total + 1) == place
    return np.where(occurs, segment, -1)
