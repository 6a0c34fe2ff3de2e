from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from polycompress.moe.shares import family_shares, perplexity_ratios, reweighted

Floats = NDArray[np.float64]
alphas = st.floats(0, 1)


@st.composite
def shares_and_ratios(draw: st.DrawFn) -> tuple[Floats, Floats]:
    count = draw(st.integers(1, 8))
    weights = draw(st.lists(st.floats(1e-3, 1e3), min_size=count, max_size=count))
    ratios = draw(st.lists(st.floats(0, 1e6), min_size=count, max_size=count))
    shares = np.array(weights)
    return shares / shares.sum(), np.array(ratios)


@st.composite
def sizes_and_families(draw: st.DrawFn) -> tuple[Floats, list[str]]:
    count = draw(st.integers(1, 10))
    sizes = draw(st.lists(st.integers(1, 10**9), min_size=count, max_size=count))
    families = draw(st.lists(st.sampled_from("ABCD"), min_size=count, max_size=count))
    return np.array(sizes, dtype=np.float64), families


def test_reweighted_by_hand() -> None:
    # psi is 1/4 e^2 and 3/4 e^1
    first, second = math.exp(2) / 4, 3 * math.exp(1) / 4
    wanted = [0.5 * first / (first + second) + 0.25, 0.5 * second / (first + second) + 0.25]
    found = reweighted(np.array([0.25, 0.75]), np.array([2.0, 1.0]), alpha=0.5)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@given(shares_and_ratios(), alphas)
def test_shares_add_up_and_have_a_floor(case: tuple[Floats, Floats], alpha: float) -> None:
    shares, ratios = case
    found = reweighted(shares, ratios, alpha=alpha)
    assert found.sum() == pytest.approx(1, abs=1e-12)
    assert found.min() >= (1 - alpha) / len(shares) - 1e-15


@given(st.integers(1, 20), st.floats(0, 1e6), alphas)
def test_equal_gaps_keep_equal_shares(count: int, ratio: float, alpha: float) -> None:
    even = np.full(count, 1 / count)
    np.testing.assert_allclose(reweighted(even, np.full(count, ratio), alpha=alpha), even, rtol=1e-12)


@given(shares_and_ratios())
def test_alpha_0_gives_all_alike(case: tuple[Floats, Floats]) -> None:
    shares, ratios = case
    assert reweighted(shares, ratios, alpha=0.0).tolist() == [1 / len(shares)] * len(shares)


@given(shares_and_ratios(), st.floats(0, 10), st.data(), alphas)
def test_who_lags_more_gets_no_less(
    case: tuple[Floats, Floats], more: float, data: st.DataObject, alpha: float
) -> None:
    shares, ratios = case
    place = data.draw(st.integers(0, len(shares) - 1))
    further = ratios.copy()
    further[place] += more
    before, after = (reweighted(shares, each, alpha=alpha) for each in (ratios, further))
    assert after[place] >= before[place] - 1e-12
    others = np.delete(np.arange(len(shares)), place)
    assert (after[others] <= before[others] + 1e-12).all()


def test_a_ratio_beyond_the_limit_counts_as_the_limit() -> None:
    shares = np.array([0.5, 0.5])
    wild, limited = (reweighted(shares, np.array([each, 1.0]), max_ratio=4.0) for each in (1e9, 4.0))
    assert wild.tolist() == limited.tolist()
    assert limited[0] > reweighted(shares, np.array([3.9, 1.0]), max_ratio=4.0)[0]


def test_equal_gaps_again_and_again_lead_to_equal_shares() -> None:
    shares = np.array([0.9, 0.05, 0.05])
    for _ in range(60):
        shares = reweighted(shares, np.ones(3), alpha=0.5)
    np.testing.assert_allclose(shares, 1 / 3, rtol=1e-12)


@pytest.mark.parametrize("ratios", [[1.0, -0.1], [1.0, math.nan]])
def test_what_is_no_ratio_is_refused(ratios: list[float]) -> None:
    with pytest.raises(ValueError, match="ratios have to be 0 or more"):
        reweighted(np.array([0.5, 0.5]), np.array(ratios))
    with pytest.raises(ValueError, match=r"alpha is 1\.5"):
        reweighted(np.array([0.5, 0.5]), np.ones(2), alpha=1.5)


def test_perplexity_ratios_by_hand() -> None:
    found = perplexity_ratios(np.array([2.0, 1.0, 1e9]), np.array([1.0, 1.0, 0.0]))
    assert found[:2].tolist() == [2.0, 1.0]
    assert np.isfinite(found[2])


def test_family_shares_by_hand() -> None:
    # Families of 9 and 16: roots 3 and 4; within the first, languages of 1 and 8.
    found = family_shares(np.array([1.0, 16.0, 8.0]), ["A", "B", "A"], 2.0)
    small, large = 3 / 7, 4 / 7
    root = math.sqrt(8)
    np.testing.assert_allclose(found, [small / (1 + root), large, small * root / (1 + root)], rtol=1e-12)


@given(sizes_and_families(), st.floats(0.3, 50))
def test_family_shares_add_up_and_follow_sizes(case: tuple[Floats, list[str]], temperature: float) -> None:
    sizes, families = case
    found = family_shares(sizes, families, temperature)
    assert found.sum() == pytest.approx(1)
    assert (found > 0).all() or temperature < 1  # what is far smaller may vanish below 1
    for one in range(len(sizes)):
        for other in range(len(sizes)):
            if families[one] == families[other] and sizes[one] <= sizes[other]:
                assert found[one] <= found[other] * (1 + 1e-12)


@given(sizes_and_families())
def test_temperature_1_is_proportional_and_a_high_one_even(case: tuple[Floats, list[str]]) -> None:
    sizes, families = case
    np.testing.assert_allclose(family_shares(sizes, families, 1.0), sizes / sizes.sum(), rtol=1e-9)
    even = [1 / len(set(families)) / families.count(each) for each in families]
    np.testing.assert_allclose(family_shares(sizes, families, 1e9), even, rtol=1e-6)
