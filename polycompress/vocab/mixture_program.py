"""The linear program behind ``mixture``, over the constraints found so far, and the search for violated ones."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError, MissingExtraError, PolycompressError
from polycompress.vocab.merge_replay import PairHistory
from polycompress.vocab.organic_merges import Ints

Floats = NDArray[np.float64]

ROWS_PER_ROUND: Final = 1000
"""Most violated constraints that a round adds."""
_SOLVER_SECONDS: Final = 120.0


class MixtureProgram:
    """The linear program over the constraints found so far; remembers its last solution."""

    def __init__(self, history: PairHistory, counts: Floats, merge_weights: Floats) -> None:
        self._history, self._counts = history, counts
        self._own = own_counts(history, counts)
        self._weights = np.where(self._own.max(axis=1, initial=0.0) > 0, merge_weights, 0.0)
        self._mass = self._weights @ self._own  # (L,)
        if not self._mass.any():
            raise InputError(
                "none of the tokenizer's merges occurs in the text of any candidate language; name other candidates, "
                "give more text (--corpus LANG='FILES'), or look at more merges (--merges)"
            )
        self._pairs = int(history.pair.max()) + 1
        self._scaled = np.full(counts.shape[1], 1 / self._mass.sum())
        self._merge_slack = np.zeros(len(self._weights))
        self._pair_slack = np.zeros(self._pairs)
        self._alive = history.begin < history.end
        self.moved = 1.0
        """The largest change of a share by the last solution."""

    @staticmethod
    def nothing() -> tuple[Ints, Ints]:
        """No constraints."""
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)

    def known(self, rows: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
        """Those of some constraints whose merge counts."""
        kept = self._weights[rows[0]] > 0
        return rows[0][kept], rows[1][kept]

    def violated(self, merges: Ints, segments: Ints) -> tuple[Ints, Ints]:
        """The most violated constraints, one a segment: that of the merge which its pair exceeds most."""
        history = self._history
        needed = np.where(self._weights > 0, self._own @ self._scaled + self._merge_slack, np.inf)
        values = self._counts @ self._scaled - self._pair_slack[history.pair]
        candidates = np.flatnonzero((values > needed.min()) & self._alive)
        merge = _range_argmin(needed, history.begin[candidates], history.end[candidates])
        gap = values[candidates] - needed[merge]
        wrong = gap > 1e-9 * gap.max(initial=0.0)
        candidates, merge, gap = candidates[wrong], merge[wrong], gap[wrong]
        stamp = merge * len(values) + candidates
        fresh = ~np.isin(stamp, merges * len(values) + segments)
        order = np.argsort(-gap[fresh], kind="stable")[:ROWS_PER_ROUND]
        return merge[fresh][order], candidates[fresh][order]

    def pair_slack(self) -> Floats:
        """(P,) the pairs' slacks, where the shares add up to 1."""
        return np.asarray(self._pair_slack / self._scaled.sum(), dtype=np.float64)

    def solve(self, merges: Ints, segments: Ints) -> tuple[Floats, float]:
        """Solve over some constraints: shares, and the violation relative to all merges' occurrences."""
        differences = self._own[merges] - self._counts[segments]
        # Late merges differ by a thousandth of the first ones' differences: keep those above the solver's tolerance.
        slack_unit = 1e-3 * float(np.abs(differences).max(initial=0.0)) or 1.0
        merge_ids, merge_column = np.unique(merges, return_inverse=True)
        pair_ids, pair_column = np.unique(self._history.pair[segments], return_inverse=True)
        solved = _minimise(
            differences / slack_unit,
            (merge_column, pair_column),
            np.concatenate((self._weights[merge_ids], np.ones(len(pair_ids)))),
            self._mass / self._mass.max(),
        )
        languages = len(self._mass)
        unit = slack_unit / self._mass.max()  # back from solver's units to those in which the mass is 1
        before = self._scaled / self._scaled.sum()
        self._scaled = solved[:languages] / self._mass.max()
        self._merge_slack[:], self._pair_slack[:] = 0.0, 0.0
        self._merge_slack[merge_ids] = solved[languages : languages + len(merge_ids)] * unit
        self._pair_slack[pair_ids] = solved[languages + len(merge_ids) :] * unit
        shares = self._scaled / self._scaled.sum()
        self.moved = float(np.abs(shares - before).max())
        return shares, float(self._weights @ self._merge_slack + self._pair_slack.sum())


def _minimise(differences: Floats, columns: tuple[Ints, Ints], costs: Floats, mass: Floats) -> Floats:
    """Least cost of slacks s with ``differences @ a + s[merge] + s[pair] >= 0``, ``mass @ a == 1``; (L + slacks,)."""
    try:
        from scipy.optimize import linprog
        from scipy.sparse import csr_matrix, hstack
    except ImportError as error:
        raise MissingExtraError("Mixture inference", "train") from error
    rows, languages = differences.shape
    merge_column, pair_column = columns
    pair_column = pair_column + (len(costs) - 1 - int(pair_column.max(initial=-1)))
    place = np.tile(np.arange(rows), 2)
    slacks = csr_matrix(
        (np.ones(2 * rows), (place, np.concatenate((merge_column, pair_column)))), shape=(rows, len(costs))
    )
    # A language in which no merge occurs has no mass to fix its share by: it has none.
    bounds = [(0.0, None if share > 0 else 0.0) for share in mass] + [(0.0, None)] * len(costs)
    answer = linprog(
        np.concatenate((np.zeros(languages), costs)),
        A_ub=-hstack((csr_matrix(differences), slacks), format="csr") if rows else None,
        b_ub=np.zeros(rows) if rows else None,
        A_eq=csr_matrix(np.concatenate((mass, np.zeros(len(costs))))[np.newaxis]),
        b_eq=np.ones(1),
        bounds=bounds,
        method="highs",
        options={"time_limit": _SOLVER_SECONDS},
    )
    if answer.x is None:
        raise PolycompressError(
            f"the linear program of {rows} constraints was not solved: {answer.message} Look at fewer merges (--merges)"
        )
    return np.maximum(np.asarray(answer.x, dtype=np.float64), 0.0)


def own_counts(history: PairHistory, counts: Floats) -> Floats:
    """(T, L) occurrences of each merge's own pair before it is made."""
    occurs = history.merge_segment >= 0
    own = np.zeros((len(occurs), counts.shape[1]))
    own[occurs] = counts[history.merge_segment[occurs]]
    return own


def _range_argmin(values: Floats, begin: Ints, end: Ints) -> Ints:
    """Where ``values[begin:end]`` is least, for many non-empty ranges at once (a sparse table)."""
    place = np.zeros(len(begin), dtype=np.int64)
    level = np.log2(end - begin).astype(np.int64)
    table, width = np.arange(len(values)), 1
    for step in range(int(level.max(initial=-1)) + 1):
        here = level == step
        first, second = table[begin[here]], table[end[here] - width]
        place[here] = np.where(values[second] < values[first], second, first)
        left, right = table[:-width], table[width:]
        table = np.where(values[right] < values[left], right, left)
        width *= 2
    return place


def largest_alive(history: PairHistory, values: Floats) -> Floats:
    """(T,) the largest value among the segments that hold before each merge."""
    total = len(history.merge_segment)
    alive = np.flatnonzero(history.begin < history.end)
    begin, end = history.begin[alive], history.end[alive]
    level = np.log2(end - begin).astype(np.int64)
    # The sparse table run backwards: a range is two overlapping ones of a power of two, and those are halved.
    best: NDArray[np.float64] = np.zeros(total)
    for step in range(int(level.max(initial=0)), -1, -1):
        width = 1 << step
        here = level == step
        np.maximum.at(best, begin[here], values[alive[here]])
        np.maximum.at(best, end[here] - width, values[alive[here]])
        if step:
            half = width // 2
            spread = best.copy()
            spread[half:] = np.maximum(spread[half:], best[:-half])
            best = spread
    return best
