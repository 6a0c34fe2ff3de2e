from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from polycompress.distill.top_k import from_top_k, make_top_k
from polycompress.errors import InputError

cases = st.tuples(st.integers(0, 5), st.integers(1, 12), st.integers(0, 10**6))


def logits_of(places: int, classes: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(scale=4.0, size=(places, classes))


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True, initial=-np.inf)
    found: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found


@given(cases)
def test_all_classes_are_the_distribution_itself(case: tuple[int, int, int]) -> None:
    logits = logits_of(*case)
    kept = make_top_k(logits, case[1])
    assert not kept.tail.any()
    np.testing.assert_allclose(from_top_k(kept, case[1]), log_softmax(logits), rtol=1e-6, atol=1e-6)


@given(cases, st.data())
def test_what_is_kept_is_exact_and_the_rest_shares_its_mass(
    case: tuple[int, int, int], data: st.DataObject
) -> None:
    places, classes, _ = case
    k = data.draw(st.integers(1, classes))
    logits = logits_of(*case)
    wanted = log_softmax(logits)
    kept = make_top_k(logits, k)
    again = from_top_k(kept, classes)
    np.testing.assert_allclose(np.exp(again.astype(np.float64)).sum(axis=1), 1.0, rtol=1e-5)
    for place in range(places):
        best = np.argsort(-wanted[place])[:k]
        assert kept.ids[place].tolist() == best.tolist()
        np.testing.assert_allclose(again[place, best], wanted[place, best], rtol=1e-6, atol=1e-6)
        others = np.setdiff1d(np.arange(classes), best)
        assert kept.tail[place] == pytest.approx(np.exp(wanted[place, others]).sum(), rel=1e-5, abs=1e-30)
        if len(others):
            np.testing.assert_allclose(
                np.exp(again[place, others]), kept.tail[place] / len(others), rtol=1e-5
            )
    # Nothing is made surer than it was.
    entropies = [-(np.exp(each) * each).sum(axis=1) for each in (wanted, again.astype(np.float64))]
    assert (entropies[1] >= entropies[0] - 1e-4).all()


def test_a_tiny_tail_is_kept() -> None:
    kept = make_top_k(np.array([[0.0, -50.0, -50.0]]), 1)
    assert kept.tail[0] == pytest.approx(2 * np.exp(-50.0), rel=1e-5)


def test_classes_that_are_ruled_out_stay_so() -> None:
    logits = np.array([[1.0, -np.inf, 0.0, -np.inf]])
    for k in (2, 3, 4):
        again = from_top_k(make_top_k(logits, k), 4)
        assert np.isneginf(again[0, [1, 3]]).all()
        np.testing.assert_allclose(again[0, [0, 2]], [-0.3132617, -1.3132617], rtol=1e-6)


def test_what_is_no_distribution_is_refused() -> None:
    for k in (0, 4):
        with pytest.raises(InputError, match=f"k={k} has to be between 1 and the number of classes, 3"):
            make_top_k(np.zeros((1, 3)), k)
    for bad in (np.nan, np.inf):
        with pytest.raises(InputError, match="logits at place 1 are no distribution"):
            make_top_k(np.array([[0.0, 0.0], [bad, 0.0]]), 1)
    with pytest.raises(InputError, match="logits at place 0 are no distribution"):
        make_top_k(np.full((1, 2), -np.inf), 1)
