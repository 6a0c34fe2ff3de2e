"""Bootstrap intervals: resampled by hand, against scipy, and how often they hold the truth."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polycompress.evaluation.metrics import bootstrap_interval, intervals, paired_bootstrap
from polycompress.evaluation.metrics.entities import f1_of_counts, scores_of_counts

HITS = arrays(np.bool_, st.integers(1, 40))


@given(HITS, st.integers(0, 2**32 - 1))
def test_the_interval_lies_among_the_values(hits: np.ndarray, seed: int) -> None:
    low, high = bootstrap_interval(hits, resamples=50, seed=seed)
    assert hits.min() <= low <= high <= hits.max()
    assert (low, high) == bootstrap_interval(hits[:, None], resamples=50, seed=seed)
    assert (low, high) == bootstrap_interval(hits, resamples=50, seed=seed)
    if hits.min() == hits.max():
        assert low == high == hits[0]


def test_the_interval_of_a_fair_coin() -> None:
    hits = np.arange(400) % 2
    low, high = bootstrap_interval(hits, resamples=4000, seed=0)
    # 1.96 * sqrt(0.25 / 400) = 0.049
    assert low == pytest.approx(0.451, abs=0.006)
    assert high == pytest.approx(0.549, abs=0.006)


def test_as_scipy_says() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")
    values = np.random.default_rng(1).gamma(2.0, size=150)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert bootstrap_interval(values, resamples=4000, seed=3) == pytest.approx(theirs, abs=0.02)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    draws = np.random.default_rng(4).random((300, 120)) < 0.7
    held = [
        low <= 0.7 <= high
        for seed, hits in enumerate(draws)
        for low, high in [bootstrap_interval(hits, resamples=300, seed=seed)]
    ]
    assert 0.90 <= np.mean(held) <= 0.99


def test_entity_f1_is_resampled_by_sentence() -> None:
    generator = np.random.default_rng(5)
    gold, named = generator.integers(0, 4, size=(2, 60))
    counts = np.stack([generator.integers(0, np.minimum(gold, named) + 1), named, gold], axis=1)
    seed, resamples = 6, 200
    places = np.random.default_rng(seed).integers(60, size=(resamples, 60))
    scores = [scores_of_counts(counts[drawn]).f1 for drawn in places]
    found = bootstrap_interval(counts, f1_of_counts, resamples=resamples, seed=seed)
    assert found == pytest.approx(tuple(np.quantile(scores, [0.025, 0.975])))
    assert found[0] < scores_of_counts(counts).f1 < found[1]


@given(st.integers(1, 400))
def test_tiles_change_nothing(tile: int) -> None:
    values = np.random.default_rng(7).random((23, 2))
    whole = bootstrap_interval(values, resamples=40, seed=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "_TILE", tile)
        assert bootstrap_interval(values, resamples=40, seed=8) == whole


@given(HITS)
def test_a_model_does_not_differ_from_itself(hits: np.ndarray) -> None:
    test = paired_bootstrap(hits, hits, resamples=50, seed=0)
    assert (test.difference, test.low, test.high, test.p) == (0.0, 0.0, 0.0, 1.0)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40), st.integers(0, 99))
def test_the_other_way_round_everything_is_negated(pairs: list[tuple[bool, bool]], seed: int) -> None:
    first, second = np.array(pairs).T
    test = paired_bootstrap(first, second, resamples=60, seed=seed)
    back = paired_bootstrap(second, first, resamples=60, seed=seed)
    assert test.difference == pytest.approx(-back.difference)
    assert test.low == pytest.approx(-back.high)
    assert test.p == back.p
    assert 0 < test.p <= 1
    assert test.low <= test.high


def test_pairs_say_more_than_two_intervals() -> None:
    # 0.75 against 0.78: the intervals overlap, but the second is right wherever the first is
    first = np.arange(400) < 300
    second = np.arange(400) < 312
    assert bootstrap_interval(first, seed=0)[1] > bootstrap_interval(second, seed=0)[0]
    test = paired_bootstrap(first, second, seed=0)
    assert test.difference == pytest.approx(-0.03)
    assert test.high < 0
    assert test.p == pytest.approx(2 / 1001)


def test_p_of_a_difference_that_is_chance() -> None:
    # each is right alone on 20 of 100: no difference
    first = np.arange(100) < 50
    second = np.abs(np.arange(100) - 45) <= 25
    assert abs(int(first.sum()) - int(second.sum())) == 1
    test = paired_bootstrap(first, second, resamples=500, seed=1)
    assert test.p > 0.5
    assert test.low < 0 < test.high


def test_p_is_uniform_where_nothing_differs() -> None:
    generator = np.random.default_rng(9)
    tests = [
        paired_bootstrap(*(generator.random((2, 200)) < 0.6), resamples=200, seed=seed).p
        for seed in range(200)
    ]
    assert 0.01 <= np.mean(np.array(tests) <= 0.05) <= 0.10
    assert 0.4 <= np.mean(tests) <= 0.65


def test_paired_entities() -> None:
    better = np.array([[2, 2, 2]] * 30 + [[1, 2, 2]] * 10)
    worse = np.array([[1, 2, 2]] * 30 + [[1, 2, 2]] * 10)
    test = paired_bootstrap(better, worse, f1_of_counts, seed=0)
    assert test.difference == pytest.approx(scores_of_counts(better).f1 - scores_of_counts(worse).f1)
    assert 0 < test.low < test.difference < test.high


def test_what_cannot_be_resampled() -> None:
    for nothing in (np.zeros(0), np.zeros((0, 3)), np.zeros((3, 0)), np.array(1.0), np.zeros((2, 2, 2))):
        with pytest.raises(ValueError, match=re.escape(f"not {nothing.shape}")):
            bootstrap_interval(nothing, seed=0)
    with pytest.raises(ValueError, match="Example 2 has no finite score"):
        bootstrap_interval(np.array([1.0, 0.0, np.nan]), seed=0)
    with pytest.raises(ValueError, match="at least one resample, not 0"):
        bootstrap_interval(np.ones(3), resamples=0, seed=0)
    with pytest.raises(ValueError, match=re.escape("not shapes (3, 1) and (4, 1)")):
        paired_bootstrap(np.ones(3), np.ones(4), seed=0)
