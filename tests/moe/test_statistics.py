from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from polycompress.moe.statistics import (
    RoutingCounts,
    at_home_shares,
    count_routing,
    drifts,
    entropies,
    family_sums,
    mean_probabilities,
    mean_uncertainty,
    overlaps,
    routing_shares,
)

HOMES = np.array([[True, False, False], [False, True, True]])
"""The first language's family has expert 0, the second's 1 and 2."""

Seen = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


@st.composite
def seen(draw: st.DrawFn) -> Seen:
    """Probabilities, the two best experts, and languages of some tokens, some of them unknown."""
    count = draw(st.integers(0, 30))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    probabilities = generator.dirichlet([0.7] * 3, size=count)
    return probabilities, np.argsort(-probabilities)[:, :2], generator.integers(-1, 2, size=count)


def by_hand() -> RoutingCounts:
    probabilities = np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.25, 0.25, 0.5], [0.1, 0.1, 0.8]])
    choices = np.array([[0, 1], [0, 2], [2, 0], [2, 1]])
    return count_routing(probabilities, choices, np.array([0, 0, 1, -1]), HOMES)


def test_counts_by_hand() -> None:
    found = by_hand()
    assert found.tokens.tolist() == [2, 1]
    assert found.chosen.tolist() == [[2, 1, 1], [1, 0, 1]]
    assert found.probability.tolist() == [[1.5, 0.5, 0.0], [0.25, 0.25, 0.5]]
    assert found.uncertainty.tolist() == [1.0, 1.5]
    assert found.at_home.tolist() == [2, 1]
    assert routing_shares(found).tolist() == [[0.5, 0.25, 0.25], [0.5, 0.0, 0.5]]
    assert mean_probabilities(found).tolist() == [[0.75, 0.25, 0.0], [0.25, 0.25, 0.5]]
    assert mean_uncertainty(found).tolist() == [0.5, 1.5]
    assert at_home_shares(found).tolist() == [1.0, 1.0]


def test_who_reaches_no_expert_of_its_family_is_not_at_home() -> None:
    probabilities = np.full((3, 3), 1 / 3)
    found = count_routing(probabilities, np.array([[1, 2], [1, 0], [0, 1]]), np.array([0, 0, 1]), HOMES)
    assert at_home_shares(found).tolist() == [0.5, 1.0]


@given(seen())
def test_counts_add_up(case: Seen) -> None:
    probabilities, choices, languages = case
    found = count_routing(probabilities, choices, languages, HOMES)
    assert found.tokens.sum() == (languages >= 0).sum()
    assert (found.chosen.sum(axis=1) == 2 * found.tokens).all()
    np.testing.assert_allclose(found.probability.sum(axis=1), found.tokens)
    assert (found.at_home <= found.tokens).all()
    shares = routing_shares(found)
    np.testing.assert_allclose(shares.sum(axis=1), found.tokens > 0)


@given(seen(), st.integers(0, 30))
def test_parts_add_up_to_the_whole(case: Seen, place: int) -> None:
    whole = count_routing(*case, HOMES)
    first = count_routing(*(each[:place] for each in case), HOMES)
    second = count_routing(*(each[place:] for each in case), HOMES)
    found = RoutingCounts.none(2, 3) + first + second
    for name in ("tokens", "chosen", "at_home"):
        assert (getattr(found, name) == getattr(whole, name)).all()
    np.testing.assert_allclose(found.probability, whole.probability, atol=1e-12)
    np.testing.assert_allclose(found.uncertainty, whole.uncertainty, atol=1e-12)


rows = st.integers(0, 2**32).map(lambda seed: np.random.default_rng(seed).dirichlet([0.5] * 5, size=4))


@given(rows)
def test_overlaps_are_shares_of_pairs(shares: NDArray[np.float64]) -> None:
    found = overlaps(shares)
    assert (found == found.T).all()
    np.testing.assert_allclose(np.diag(found), 1.0)
    assert ((found >= 0) & (found <= 1)).all()
    for one in range(4):  # what two do not have in common is what would have to move
        np.testing.assert_allclose(1 - found[one], drifts(np.tile(shares[one], (4, 1)), shares), atol=1e-12)


def test_overlap_drift_and_entropy_by_hand() -> None:
    shares = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    assert overlaps(shares).tolist() == [[1.0, 0.5, 0.0], [0.5, 1.0, 0.5], [0.0, 0.5, 1.0]]
    assert drifts(shares, shares[::-1]).tolist() == [1.0, 0.0, 1.0]
    assert entropies(shares).tolist() == [0.0, 1.0, 0.0]


@given(rows)
def test_entropy_is_largest_where_shares_are_even(shares: NDArray[np.float64]) -> None:
    found = entropies(shares)
    assert ((found >= 0) & (found <= math.log2(5) + 1e-12)).all()
    assert entropies(np.full(5, 0.2)) == pytest.approx(math.log2(5))


def test_family_sums_by_hand() -> None:
    shares = np.array([[0.5, 0.25, 0.25]])
    families = {"A": (0,), "B": (2, 1), "C": (1,)}  # B and C share an expert
    assert family_sums(shares, families).tolist() == [[0.5, 0.5, 0.25]]
