"""Which mixture of languages was a BPE tokenizer trained on? A linear program over the order of its merges.

Every merge was the most frequent pair of symbols when it was made. Let ``c_i^t(p)`` be how often the pair ``p`` occurs
per byte of language ``i``'s text before merge ``t``, and ``m_t`` the pair that merge ``t`` joins. Shares ``a`` with

    minimise  sum_t v_t + sum_p u_p   subject to, for every t and p != m_t,
    sum_i a_i (c_i^t(m_t) - c_i^t(p)) + v_t + u_p >= 0,   a, v, u >= 0

make the observed order as right as can be; the slacks ``v`` (per merge) and ``u`` (per pair) take up noise. There are
far too many constraints: those that are violated are added in rounds.

Departures from the paper: counts are per byte, so that the shares are shares of bytes; and the scale is fixed by
``sum_i a_i sum_t c_i^t(m_t) = 1`` rather than ``sum_i a_i = 1``, so that the slacks are relative to the merges that
were made. With the latter a language whose pairs are all rare (Chinese in characters) makes every slack small and draws
the shares to itself where a candidate is missing.

Reference:
    Hayase, Liu, Choi, Oh and Smith, "Data Mixture Inference: What do BPE Tokenizers Reveal about their Training Data?",
    2024, section 3 (https://arxiv.org/abs/2407.16607).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from polycompress.errors import MissingExtraError
from polycompress.vocab.merge_replay import PairHistory
from polycompress.vocab.mixture_program import Floats, MixtureProgram, largest_alive, own_counts
from polycompress.vocab.organic_merges import Ints

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MAX_ROUNDS: Final = 15
"""Of adding constraints; the shares have settled long before, unless a candidate is missing."""
BOOTSTRAP_ROUNDS: Final = 2
"""The same for a bootstrap sample, which starts from the constraints that the full text led to."""
SETTLED: Final = 0.002
"""Shares that move less than this in two rounds have settled."""


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
    counts: Floats = running - np.repeat(before, np.diff(first, append=segments), axis=0)
    return counts


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
    program = MixtureProgram(history, counts, merge_weights)
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
    own = own_counts(history, values[:, np.newaxis])[:, 0]
    best = np.maximum(own, largest_alive(history, values - solution.pair_slack[history.pair]))
    return np.divide(own, best, out=np.zeros_like(own), where=best > 0)


def merges_by_language(history: PairHistory, counts: Floats, shares: Floats) -> Ints:
    """Count the merges at least half of whose occurrences are one language's.

    Args:
        history: Segments of all pairs.
        counts: (S, L) occurrences per byte.
        shares: (L,) of bytes.

    Returns:
        (L,) merges.
    """
    own = own_counts(history, counts) * shares
    mostly = (own > 0) & (own >= 0.5 * own.sum(axis=1, keepdims=True))
    merges: Ints = mostly.sum(axis=0, dtype=np.int64)
    return merges
