"""Which mixture of languages was a BPE tokenizer trained on? A linear program over the order of its merges.

Every merge was the most frequent pair of symbols when it was made. Let ``c_i^t(p)`` be how often the pair ``p`` occurs
per byte of language ``i``'s text before merge ``t``, and ``m_t`` the pair that merge ``t`` joins. Shares ``a`` with

    minimise  sum_t v_t + sum_p u_p   subject to, for every t and p != m_t,
    sum_i a_i (c_i^t(m_t) - c_i^t(p)) + v_t + u_p >= 0,   a, v, u >= 0

make the observed order as right as can be; the slacks ``v`` (per merge) and ``u`` (per pair) take up noise. There are far
too many constraints: those that are violated are added in rounds.

Departures from the paper: counts are per byte, so that the shares are shares of bytes; and the scale is fixed by
``sum_i a_i sum_t c_i^t(m_t) = 1`` rather than ``sum_i a_i = 1``, so that the slacks are relative to the merges that were
made. With the latter a language whose pairs are all rare (Chinese in characters) makes every slack small and draws the
shares to itself where a candidate is missing.

Reference:
    Hayase, Liu, Choi, Oh and Smith, "Data Mixture Inference: What do BPE Tokenizers Reveal about their Training Data?",
    2024, section 3 (https://arxiv.org/abs/2407.16607).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError, MissingExtraError, PolycompressError
from polycompress.vocab.merge_replay import Floats, Ints, PairHistory

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MAX_ROUNDS: Final = 15
"""Of adding constraints; the shares have settled long before, unless a candidate is missing."""
BOOTSTRAP_ROUNDS: Final = 2
"""The same for a bootstrap sample, which starts from the constraints that the full text led to."""
ROWS_PER_ROUND: Final = 1000
"""Most violated constraints that a round adds."""
SETTLED: Final = 0.002
"""Shares that move less than this in two rounds have settled."""
_SOLVER_SECONDS: Final = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Solution:
    """Where the rounds ended."""

    shares: Floats
    """(L,) of bytes; they add up to 1."""
    violation: float
    """Sum of the slacks, as a share of the occurrences of all merges."""
    pair_slack: Floats
    """(P,) occurrences per byte of the mixture by which each pair is too frequent for good."""
    rows: tuple[Ints, Ints]
    """(R,) merge and (R,) segment of each constraint in use."""
    rounds: int
    """Linear programs solved."""


def segment_counts(history: PairHistory, weights: Floats) -> Floats:
    """Count each segment's pair under some weights of the words.

    Args:
        history: From a replay over W words.
        weights: (W, L) how often each word occurs in each language.

    Returns:
        (S, L) occurrences of each segment's pair.

    Raises:
        MissingExtraError: scipy is not installed.
    """
    try:
        from scipy.sparse import csr_matrix
    except ImportError as error:
        raise MissingExtraError("Mixture inference", "train") from error
    segments = len(history.pair)
    changes = csr_matrix(
        (history.entry_change.astype(np.float64), history.entry_word, history.entry_start),
        shape=(segments, history.words),
    )
    running = np.cumsum(changes @ weights, axis=0)
    first = np.flatnonzero(np.diff(history.pair, prepend=-1))
    before = np.vstack((np.zeros((1, weights.shape[1])), running))[first]
    return running - np.repeat(before, np.diff(first, append=segments), axis=0)


def solve_shares(
    history: PairHistory,
    counts: Floats,
    merge_weights: Floats,
    *,
    start: tuple[Ints, Ints] | None = None,
    max_rounds: int = MAX_ROUNDS,
) -> Solution:
    """Find the shares under which the merges come in the observed order with the least violation.

    Args:
        history: Segments of all pairs.
        counts: (S, L) occurrences of each segment's pair per byte of each language.
        merge_weights: (T,) how much each merge counts; 0 leaves it out. Merges that occur in no language are left out
            in any case.
        start: Constraints of an earlier solution to begin with.
        max_rounds: At most so many linear programs are solved.

    Returns:
        The shares and what is left of violations.

    Raises:
        InputError: None of the merges occurs in any language.
        PolycompressError: The solver failed.
        MissingExtraError: scipy is not installed.
    """
    program = _Program(history, counts, merge_weights)
    rows = program.known(start) if start is not None else program.violated(*program.nothing())
    calm = done = 0
    while True:
        shares, violation = program.solve(*rows)
        done += 1
        calm = calm + 1 if program.moved < SETTLED else 0
        if done >= max_rounds or (calm >= 2 and start is None):
            break
        more = program.violated(*rows)
        if not len(more[0]):
            break
        rows = (np.concatenate((rows[0], more[0])), np.concatenate((rows[1], more[1])))
    return Solution(
        shares=shares, violation=violation, pair_slack=program.pair_slack(), rows=rows, rounds=done
    )


def bootstrap_shares(
    history: PairHistory,
    words: csr_matrix,
    block_bytes: Floats,
    merge_weights: Floats,
    solution: Solution,
    *,
    samples: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> Floats:
    """Solve again with resampled text and resampled merges.

    Args:
        history: From a replay over W words.
        words: (W, L * K) how often each word occurs in each of the K blocks of each language's text.
        block_bytes: (L, K) bytes of each block.
        merge_weights: As for ``solve_shares``; each sample draws as many merges with replacement.
        solution: Of the full text.
        samples: How many.
        seed: Of the draws.
        progress: Called with 1 for each sample.

    Returns:
        (samples, L) shares of bytes.
    """
    generator = np.random.default_rng(seed)
    languages, blocks = block_bytes.shape
    used = np.flatnonzero(merge_weights)
    found = np.empty((samples, languages))
    for sample in range(samples):
        mixing = np.zeros((languages * blocks, languages))
        for language, sizes in enumerate(block_bytes):
            filled = np.flatnonzero(sizes)
            drawn = np.bincount(generator.choice(filled, len(filled)), minlength=blocks)
            mixing[language * blocks : (language + 1) * blocks, language] = drawn / (drawn @ sizes)
        drawn_merges = np.bincount(generator.choice(used, len(used)), minlength=len(merge_weights))
        found[sample] = solve_shares(
            history,
            segment_counts(history, words @ mixing),
            merge_weights * drawn_merges,
            start=solution.rows,
            max_rounds=BOOTSTRAP_ROUNDS,
        ).shares
        if progress is not None:
            progress(1)
    return found


def merge_ratios(history: PairHistory, counts: Floats, solution: Solution) -> Floats:
    """Compare each merge's pair with the most frequent pair at that time, under the shares of a solution.

    Args:
        history: Segments of all pairs.
        counts: (S, L) occurrences per byte.
        solution: A pair that is too frequent throughout (training may have had a rule against it) is taken less its
            slack.

    Returns:
        (T,) occurrences of the merge's pair by those of the most frequent; 1 is perfect, 0 where it never occurs.
    """
    values = counts @ solution.shares
    own = _own_counts(history, values[:, np.newaxis])[:, 0]
    best = np.maximum(own, _largest_alive(history, values - solution.pair_slack[history.pair]))
    return np.divide(own, best, out=np.zeros_like(own), where=best > 0)


class _Program:
    """The linear program over the constraints found so far; remembers its last solution."""

    def __init__(self, history: PairHistory, counts: Floats, merge_weights: Floats) -> None:
        self._history, self._counts = history, counts
        self._own = _own_counts(history, counts)
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
        return self._pair_slack / self._scaled.sum()

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


def _own_counts(history: PairHistory, counts: Floats) -> Floats:
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


def _largest_alive(history: PairHistory, values: Floats) -> Floats:
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
