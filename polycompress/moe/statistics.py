"""How a router sends the tokens of each language to the experts: counts, and what is read off them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class RoutingCounts:
    """What was seen in one layer, L languages and E experts; counts of parts of a text add up to those of the whole."""

    tokens: Counts
    """(L,)"""
    chosen: Counts
    """(L, E) tokens that an expert was among the chosen of."""
    probability: Floats
    """(L, E) sums of the router's probabilities."""
    uncertainty: Floats
    """(L,) sums of the entropies of the router's probabilities, in bits."""
    at_home: Counts
    """(L,) tokens of which at least one chosen expert is one of their own family's."""

    @classmethod
    def none(cls, languages: int, experts: int) -> RoutingCounts:
        """Nothing seen yet."""
        return cls(
            tokens=np.zeros(languages, np.int64),
            chosen=np.zeros((languages, experts), np.int64),
            probability=np.zeros((languages, experts)),
            uncertainty=np.zeros(languages),
            at_home=np.zeros(languages, np.int64),
        )

    def __add__(self, other: RoutingCounts) -> RoutingCounts:
        """Both together."""
        return RoutingCounts(
            self.tokens + other.tokens,
            self.chosen + other.chosen,
            self.probability + other.probability,
            self.uncertainty + other.uncertainty,
            self.at_home + other.at_home,
        )


def count_routing(
    probabilities: Floats, choices: Counts, languages: Counts, homes: NDArray[np.bool_]
) -> RoutingCounts:
    """Count what a router did with some tokens of one layer.

    Args:
        probabilities: (T, E) of the router, each row adding up to 1.
        choices: (T, k) distinct experts of each token.
        languages: (T,) number of each token's language; -1: unknown, the token is not counted.
        homes: (L, E) which experts are those of each language's family.
    """
    count, experts = homes.shape
    known = languages >= 0
    probabilities, choices, languages = probabilities[known], choices[known], languages[known]
    chosen = np.zeros((count, experts), np.int64)
    np.add.at(chosen, (languages[:, None], choices), 1)
    summed = np.zeros((count, experts))
    np.add.at(summed, languages, probabilities)
    own = homes[languages[:, None], choices].any(axis=1)
    return RoutingCounts(
        tokens=np.bincount(languages, minlength=count),
        chosen=chosen,
        probability=summed,
        uncertainty=np.bincount(languages, weights=entropies(probabilities), minlength=count).astype(
            np.float64
        ),
        at_home=np.bincount(languages, weights=own, minlength=count).astype(np.int64),
    )


def entropies(shares: Floats) -> Floats:
    """Entropy of each row in bits: 0 where all is in one place, log2 of the width where it is even.

    Args:
        shares: (..., E) none negative, each row adding up to 1.

    Returns:
        (...)
    """
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.asarray(np.maximum(-(shares * logs).sum(axis=-1), 0.0))


def routing_shares(counts: RoutingCounts) -> Floats:
    """Of the choices made for each language's tokens, the share that fell on each expert.

    Returns:
        (L, E) each row adding up to 1; zeros of a language without tokens.
    """
    return _of(counts.chosen.astype(np.float64), counts.chosen.sum(axis=1)[:, None])


def mean_probabilities(counts: RoutingCounts) -> Floats:
    """The mean of the router's probabilities over each language's tokens, (L, E)."""
    return _of(counts.probability, counts.tokens[:, None])


def mean_uncertainty(counts: RoutingCounts) -> Floats:
    """The mean entropy of the router's probabilities for one token, in bits, (L,): 0 where it is always sure."""
    return _of(counts.uncertainty, counts.tokens)


def at_home_shares(counts: RoutingCounts) -> Floats:
    """The share of each language's tokens that reach an expert of its own family, (L,)."""
    return _of(counts.at_home.astype(np.float64), counts.tokens)


def family_sums(shares: Floats, families: Mapping[str, Sequence[int]]) -> Floats:
    """Shares by family instead of by expert: (L, E) to (L, families); an expert that several share counts for each."""
    return np.stack([shares[:, sorted(experts)].sum(axis=1) for experts in families.values()], axis=1)


def overlaps(shares: Floats) -> Floats:
    """What two languages' tokens have in common: the sum over experts of the smaller of both shares.

    Args:
        shares: (L, E) each row adding up to 1.

    Returns:
        (L, L) symmetric, from 0, no common expert, to 1, the same experts in the same shares.
    """
    return np.asarray(np.minimum(shares[:, None], shares[None]).sum(axis=2).clip(0.0, 1.0))


def drifts(before: Floats, after: Floats) -> Floats:
    """The share of each language's choices that would have to move to make one routing of the other.

    Args:
        before: (L, E) each row adding up to 1.
        after: (L, E)

    Returns:
        (L,) from 0, nothing moved, to 1: half the sum of absolute differences (total variation).
    """
    return np.asarray(np.abs(after - before).sum(axis=1) / 2)


def _of(sums: Floats, counts: Counts) -> Floats:
    """A mean; 0 of nothing."""
    return np.asarray(sums / np.maximum(counts, 1))
