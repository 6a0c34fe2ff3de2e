"""How many experts each branch of a family tree gets, so that they all have about as much to do."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from polycompress.errors import InputError

MAX_EXPERTS: Final = 256
"""More than any published model has in a layer, and few enough to plan in a moment."""
_DIGITS: Final = 12
"""Loads that differ by less are alike: sums of floats depend on their order."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A family, or families that belong together."""

    name: str
    load: float
    """Share of the tokens, at least 0."""
    below: tuple[Branch, ...] = ()
    """Empty: it is a family itself."""

    @property
    def families(self) -> tuple[str, ...]:
        """Names of the families in it."""
        return tuple(name for each in self.below for name in each.families) if self.below else (self.name,)


@dataclass(frozen=True, slots=True)
class Expert:
    """One expert: several for a large family are alike, one for several small ones serves them all."""

    families: tuple[str, ...]
    load: float
    """Share of the tokens that come to it, if those of a family with several experts spread evenly."""


def join_branches(branches: Sequence[Branch], name: str = "") -> Branch:
    """A branch of branches."""
    return Branch(name, _load(branches), tuple(branches))


def share_experts(tree: Branch, experts: int) -> tuple[Expert, ...]:
    """Share experts out over a tree, so that the largest load is small and loads are even.

    Level by level: at each node the largest branches get experts of their own, each the next where the load is highest;
    the others are put together in bundles of about the same load, each served by one expert. Of all ways to draw that
    line the one with the smallest largest load is taken, then the most even, then the one with the most branches by
    themselves. On one level the largest load is at most 4/3 of the least possible.

    Args:
        tree: The families.
        experts: How many there are, at least 1.

    Returns:
        So many experts; every family has one at least. Those of one family follow each other.

    Raises:
        InputError: The number is below 1 or above ``MAX_EXPERTS``.

    Reference:
        Graham, "Bounds on multiprocessing timing anomalies" (SIAM Journal on Applied Mathematics 17(2), 1969), for the
        bundles; D'Hondt's divisors for the shares.

    Example:
        >>> tree = join_branches([Branch("Indic", 6.0), Branch("Celtic", 1.0), Branch("Greek", 1.0)])
        >>> [(expert.families, expert.load) for expert in share_experts(tree, 4)]
        [(('Indic',), 2.0), (('Indic',), 2.0), (('Indic',), 2.0), (('Celtic', 'Greek'), 2.0)]
    """
    if not 1 <= experts <= MAX_EXPERTS:
        raise InputError(f"--experts {experts}: give a number from 1 to {MAX_EXPERTS}.")
    known: _Known = {}
    return tuple(_made(_best(tree, experts, known), known))


@dataclass(frozen=True, slots=True)
class _Way:
    """How the experts of a node are shared out."""

    own: tuple[tuple[Branch, int], ...]
    """Branches by themselves, and how many experts each has."""
    bundles: tuple[Expert, ...]
    largest: float
    """Load of an expert."""
    squares: float
    """Sum over all experts: the least where loads are even."""

    @property
    def unevenness(self) -> tuple[float, float]:
        return round(self.largest, _DIGITS), round(self.squares, _DIGITS)


_Known = dict[tuple[Branch, int], _Way]


def _made(way: _Way, known: _Known) -> Iterator[Expert]:
    for branch, experts in way.own:
        if branch.below and experts > 1:
            yield from _made(_best(branch, experts, known), known)
        else:
            yield from (Expert(branch.families, branch.load / experts),) * experts
    yield from way.bundles


def _best(node: Branch, experts: int, known: _Known) -> _Way:
    if not node.below or experts == 1:
        load = node.load / experts
        return _Way(((node, experts),), (), load, load**2 * experts)
    key = (node, experts)
    if key not in known:
        order = sorted(node.below, key=lambda each: (-round(each.load, _DIGITS), each.name))
        best: _Way | None = None
        for alone in range(min(len(order), experts), -1, -1):
            large, small = order[:alone], order[alone:]
            if best is not None and small and round(small[0].load, _DIGITS) > best.unevenness[0]:
                break  # whatever bundle holds it has more to do, and so on for each step further
            for way in _ways(large, small, experts, known):
                if best is None or way.unevenness < best.unevenness:
                    best = way
        assert (
            best is not None
        )  # no branch by itself and as many bundles as experts is a way, or all by themselves
        known[key] = best
    return known[key]


def _ways(large: Sequence[Branch], small: Sequence[Branch], experts: int, known: _Known) -> Iterator[_Way]:
    """The ways to give some branches experts of their own that can be the best: none, one or two.

    With more bundles the largest of their loads falls, and what the other experts have rises: the best is where the two
    meet.
    """

    def way(bundles: int) -> _Way:
        return _way(_proportional(large, experts - bundles, known), _bundled(small, bundles), known)

    if not large or not small:
        if large or experts <= len(small):
            yield way(0 if large else experts)
        return
    low, high = 1, min(len(small), experts - len(large))
    most = high
    while low < high:  # for the fewest bundles of which none has more to do than the branches by themselves
        middle = (low + high) // 2
        found = way(middle)
        if found.largest > max(each.load for each in found.bundles):
            high = middle
        else:
            low = middle + 1
    yield from (way(bundles) for bundles in (low - 1, low) if 1 <= bundles <= most)


def _way(own: Sequence[tuple[Branch, int]], bundles: tuple[Expert, ...], known: _Known) -> _Way:
    parts = [_best(branch, experts, known) for branch, experts in own]
    return _Way(
        own=tuple(own),
        bundles=bundles,
        largest=max(*(each.largest for each in parts), *(each.load for each in bundles), 0.0, 0.0),
        squares=math.fsum([*(each.squares for each in parts), *(each.load**2 for each in bundles)]),
    )


def _proportional(large: Sequence[Branch], experts: int, known: _Known) -> list[tuple[Branch, int]]:
    """One expert for each branch; then, again and again, one more where an expert has the most to do."""
    if not large:
        return []
    number = [1] * len(large)
    waiting = [(-round(each.load, _DIGITS), place) for place, each in enumerate(large)]
    heapq.heapify(waiting)
    for _ in range(experts - len(large)):
        place = waiting[0][1]
        number[place] += 1
        largest = _best(large[place], number[place], known).largest
        heapq.heapreplace(waiting, (-round(largest, _DIGITS), place))
    return list(zip(large, number, strict=True))


def _bundled(small: Sequence[Branch], bundles: int) -> tuple[Expert, ...]:
    """Branches, the largest first, each put where there is least so far; none of so many bundles stays empty."""
    held: list[list[Branch]] = [[] for _ in range(min(bundles, len(small)))]
    waiting = [(0.0, 0, place) for place in range(len(held))]
    for branch in small:
        _, _, place = waiting[0]
        held[place].append(branch)
        heapq.heapreplace(waiting, (round(_load(held[place]), _DIGITS), len(held[place]), place))
    return tuple(Expert(join_branches(each).families, _load(each)) for each in held)


def _load(branches: Sequence[Branch]) -> float:
    return math.fsum(each.load for each in branches)
