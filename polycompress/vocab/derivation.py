"""How a BPE token comes about: merges as arrays of ids, and the run of BPE on a token's own string.

**Lemma.** If a text's encoding contains the token t over some span, then the merges made inside that span are
exactly those of BPE run on the span alone. No merge crossed the span's ends (its result would reach beyond
t), so whenever the best (rank, position) pair of the whole text lies inside, it is the best inside; and the
run alone stops when nothing inside can be merged, which holds at the end of the whole run as well. So the
intermediates of t within any text are those of its *own derivation*, whatever stands around it.

The symbols a run begins with depend on the place: the first character of a word is written plainly, the
others with ``continuing_subword_prefix`` where a model has one, the last with ``end_of_word_suffix``; hence a
token may be read in up to four ways (`readings`). Unknown and byte-fallback tokens begin as symbols too;
models in which merges use those are closed over all merges instead (see `bpe`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import add, itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.vocab.checks import as_list, wrong

_NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class MergeTable:
    """The merges of a BPE model as ids; row order is rank order (the smallest rank is made first)."""

    left: NDArray[np.int64]
    """Ids of the left parts, shape (merges,)."""
    right: NDArray[np.int64]
    """Ids of the right parts, shape (merges,)."""
    result: NDArray[np.int64]
    """Ids of the tokens they make, shape (merges,)."""
    places: NDArray[np.int64]
    """Position of each row in the document's list, shape (merges,)."""


def merge_table(model: Mapping[str, Any]) -> MergeTable:
    """Read the merges, in either of the two ways in which documents write them.

    Args:
        model: The ``model`` object with a checked vocabulary; merges are ``"a b"`` strings or ``["a", "b"]``
            pairs.

    Returns:
        The merges as ids.

    Raises:
        InputError: A merge is malformed, or a part or the result is not in the vocabulary.
    """
    merges = as_list(model.get("merges"), "model.merges")
    places, lefts, rights = _split(merges)
    vocab: dict[str, int] = model["vocab"]
    mark = model.get("continuing_subword_prefix") or ""
    results = map(add, lefts, rights) if not mark else _joined(places, lefts, rights, mark)
    columns = []
    for names in (lefts, rights, list(results)):
        numbers = list(map(vocab.get, names))
        if None in numbers:
            row = numbers.index(None)
            raise InputError(
                f"model.merges[{places[row]}] is {merges[places[row]]!r}, but {names[row]!r} is not in "
                "model.vocab; both parts of a merge and the token it makes must be"
            )
        columns.append(np.array(numbers, dtype=np.int64))
    left, right, result = columns
    return MergeTable(left=left, right=right, result=result, places=np.array(places, dtype=np.int64))


def _split(merges: Sequence[Any]) -> tuple[Sequence[int], list[str], list[str]]:
    """Separate left and right parts; the places skip the ``#version`` lines that old files carry along."""
    kinds = set(map(type, merges))
    places: Sequence[int] = range(len(merges))
    if kinds == {str}:
        if any(merge.startswith("#version") for merge in merges):
            places = [place for place in places if not merges[place].startswith("#version")]
            merges = [merges[place] for place in places]
        if not {merge.count(" ") for merge in merges} <= {1}:
            row = next(i for i, merge in enumerate(merges) if merge.count(" ") != 1)
            raise wrong(f"model.merges[{places[row]}]", merges[row], "two tokens with a space between them")
        parts = " ".join(merges).split(" ") if merges else []
        return places, parts[::2], parts[1::2]
    if not kinds <= {list}:
        first = type(merges[0]) if type(merges[0]) in (str, list) else list
        row = next(i for i, merge in enumerate(merges) if type(merge) is not first)
        raise wrong(
            f"model.merges[{row}]", merges[row], "written like the others: all 'a b' or all ['a', 'b']"
        )
    if not set(map(len, merges)) <= {2}:
        row = next(i for i, pair in enumerate(merges) if len(pair) != 2)
        raise wrong(f"model.merges[{row}]", merges[row], "two tokens, ['a', 'b']")
    lefts, rights = list(map(itemgetter(0), merges)), list(map(itemgetter(1), merges))
    if not {*map(type, lefts), *map(type, rights)} <= {str}:
        row = next(i for i, pair in enumerate(merges) if {type(part) for part in pair} != {str})
        raise wrong(f"model.merges[{row}]", merges[row], "two tokens, both strings")
    return places, lefts, rights


def _joined(places: Sequence[int], lefts: Sequence[str], rights: Sequence[str], mark: str) -> Iterator[str]:
    """What each merge makes where continuing tokens carry a mark: the right part loses it."""
    for place, left, right in zip(places, lefts, rights, strict=True):
        if not right.startswith(mark):
            raise wrong(
                f"the right part of model.merges[{place}]", right, f"a token that begins with {mark!r}"
            )
        yield left + right[len(mark) :]


def word_symbols(word: str, mark: str, suffix: str) -> list[str]:
    """Give the symbols that a whole word starts with: one a character, marked by its place.

    Args:
        word: At least one character.
        mark: ``continuing_subword_prefix`` or an empty string.
        suffix: ``end_of_word_suffix`` or an empty string.

    Example:
        >>> word_symbols("abc", "##", "</w>")
        ['a', '##b', '##c</w>']
    """
    symbols = [mark * (place > 0) + character for place, character in enumerate(word)]
    return [*symbols[:-1], symbols[-1] + suffix] if symbols else []


def readings(token: str, mark: str, suffix: str) -> Iterator[list[str]]:
    """List the symbols from which a token can come about, depending on its place in the word.

    Args:
        token: The token's string.
        mark: ``continuing_subword_prefix`` or an empty string.
        suffix: ``end_of_word_suffix`` or an empty string.

    Yields:
        One list of starting symbols for each way to read it.

    Example:
        >>> list(readings("ab</w>", "", "</w>"))[-1]
        ['a', 'b</w>']
    """
    bodies = [(token, "")]
    if mark and token.startswith(mark):
        bodies.append((token[len(mark) :], mark))
    for body, start in bodies:
        endings = [""] if not suffix or not body.endswith(suffix) else ["", suffix]
        for ending in endings:
            symbols = word_symbols(body[: len(body) - len(ending)], mark, ending)
            if symbols:
                yield [start + symbols[0], *symbols[1:]]


class Deriver:
    """Runs BPE on single tokens with the merges of one model."""

    def __init__(self, table: MergeTable, model: Mapping[str, Any]) -> None:
        """Index the merges by their pair of parts.

        Args:
            table: The merges.
            model: The model they belong to.
        """
        self._vocab: dict[str, int] = model["vocab"]
        self._mark: str = model.get("continuing_subword_prefix") or ""
        self._suffix: str = model.get("end_of_word_suffix") or ""
        self._base = max(self._vocab.values(), default=0) + 1
        keys = table.left * self._base + table.right
        # Where a pair is listed twice the library lets the last entry count, and so does a dict.
        self._ranks: dict[int, int] = dict(zip(keys.tolist(), range(len(keys)), strict=True))
        self._results: list[int] = table.result.tolist()

    def intermediates(self, token: str, number: int) -> set[int]:
        """Give every id that occurs while BPE builds the token from its own string.

        Args:
            token: The token's string.
            number: Its id.

        Returns:
            The ids of the symbols it starts from and of every merge's result, over all readings that end in
            this one token; empty where none does (the token is then never the product of merges).
        """
        found: set[int] = set()
        for symbols in readings(token, self._mark, self._suffix):
            numbers = [self._vocab.get(symbol) for symbol in symbols]
            if None not in numbers:
                seen = self._run([n for n in numbers if n is not None])
                if seen and seen[-1] == number:
                    found.update(seen)
        return found

    def _run(self, symbols: list[int]) -> list[int]:
        """Merge to the end; all ids seen, the surviving one last, or an empty list where several survive."""
        rank_of, base = self._ranks.get, self._base
        seen = list(symbols)
        ranks = [rank_of(a * base + b, _NEVER) for a, b in pairwise(symbols)]
        while ranks:
            best = min(ranks)
            if best == _NEVER:
                return []
            place = ranks.index(best)
            made = self._results[best]
            symbols[place] = made
            del symbols[place + 1], ranks[place]
            if place:
                ranks[place - 1] = rank_of(symbols[place - 1] * base + made, _NEVER)
            if place < len(ranks):
                ranks[place] = rank_of(made * base + symbols[place + 1], _NEVER)
            seen.append(made)
        return seen
