"""Loyalty by hand, against scipy, and CKA against the n x n form that it avoids."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from polycompress.evaluation.loyalty import (
    jensen_shannon_distance,
    label_loyalty,
    linear_cka,
    probability_loyalty,
    regression_loyalty,
)

Floats = NDArray[np.float64]
SEEDS = st.integers(0, 2**32 - 1)
NUMBERS = st.floats(-50, 50)
LOGITS = st.tuples(st.integers(1, 8), st.integers(1, 5)).flatmap(
    lambda shape: st.tuples(
        arrays(np.float64, shape, elements=NUMBERS), arrays(np.float64, shape, elements=NUMBERS)
    )
)


def normal(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).normal(size=shape)


def softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def test_labels_by_hand() -> None:
    student = [[2.0, 1.0], [0.0, 1.0], [5.0, 5.0], [1.0, 3.0]]
    teacher = [[9.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.1]]
    assert label_loyalty(student, teacher) == 0.75


def test_distance_by_hand() -> None:
    # disjoint: divergence 1; (1, 0) and (1/2, 1/2): 3/4 log2(4/3) ... = 0.311278
    p, q = np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.5, 0.5], [0.5, 0.5]])
    assert jensen_shannon_distance(p, q) == pytest.approx([1.0, np.sqrt(0.3112781244591328), 0.0])
    assert probability_loyalty([[800.0, 0.0]], [[0.0, 800.0]]) == 0.0
    assert probability_loyalty([[800.0, 0.0]], [[1.0, 1.0]]) == pytest.approx(1 - np.sqrt(0.3112781244591328))


@given(LOGITS)
def test_probability_as_scipy_says_without_a_second_root(pair: tuple[Floats, Floats]) -> None:
    distance = pytest.importorskip("scipy.spatial.distance", reason="scipy is not installed")
    student, teacher = pair
    with np.errstate(invalid="ignore"):
        theirs = [
            distance.jensenshannon(p, q, base=2)
            for p, q in zip(softmax(student), softmax(teacher), strict=True)
        ]
    # where both are equal but for rounding, scipy's divergence may be a little below 0 and its root no number
    assert probability_loyalty(student, teacher) == pytest.approx(
        1 - np.mean(np.nan_to_num(theirs)), abs=1e-6
    )


@given(LOGITS)
def test_loyalty_is_symmetric_and_bounded(pair: tuple[Floats, Floats]) -> None:
    student, teacher = pair
    for loyalty in (label_loyalty, probability_loyalty):
        assert 0.0 <= loyalty(student, teacher) <= 1.0
        assert loyalty(student, teacher) == pytest.approx(loyalty(teacher, student), abs=1e-12)
        assert loyalty(teacher, teacher) == 1.0
    assert probability_loyalty(teacher + 3.0, teacher) == pytest.approx(1.0, abs=1e-6)


def test_tiny_probabilities() -> None:
    tiny = np.nextafter(0.0, 1.0)
    assert jensen_shannon_distance(np.array([tiny, 1.0]), np.array([0.0, 1.0])) == pytest.approx(
        0.0, abs=1e-12
    )


def test_numbers_by_hand() -> None:
    loyalty = regression_loyalty([1.0, 2.0, 4.0], [0.0, 2.5, 5.0], scale=(0, 5))
    assert loyalty.agreement == pytest.approx(1 - (1 + 0.5 + 1) / 3 / 5)
    assert loyalty.pearson == pytest.approx(np.corrcoef([1.0, 2.0, 4.0], [0.0, 2.5, 5.0])[0, 1])
    assert regression_loyalty([1.0, 2.0, 4.0], [0.0, 2.5, 5.0]).agreement == pytest.approx(loyalty.agreement)
    assert regression_loyalty([3.0, 3.0], [1.0, 2.0]).pearson is None
    opposite = regression_loyalty([5.0, 0.0], [0.0, 5.0], scale=(0, 5))
    assert (opposite.agreement, opposite.pearson) == (0.0, pytest.approx(-1.0))


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=20))
def test_numbers_on_a_scale(pairs: list[tuple[float, float]]) -> None:
    student, teacher = np.array(pairs).T
    loyalty = regression_loyalty(student, teacher, scale=(0, 5))
    assert -1e-12 <= loyalty.agreement <= 1.0
    assert loyalty.pearson is None or -1.0 <= loyalty.pearson <= 1.0
    itself = regression_loyalty(teacher, teacher, scale=(0, 5))
    assert itself.agreement == 1.0
    assert itself.pearson is None or itself.pearson == pytest.approx(1.0)


def gram_cka(x: Floats, y: Floats, *, debiased: bool) -> float:
    """The definition, on n x n similarities: Kornblith et al. (2019), and Song et al. (2012), equation 5."""

    def plain(k: Floats, m: Floats) -> float:
        n = len(k)
        centre = np.eye(n) - 1 / n
        return float(np.trace(k @ centre @ m @ centre))

    def unbiased(k: Floats, m: Floats) -> float:
        n = len(k)
        k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
        ones = np.ones(n)
        middle = (ones @ k @ ones) * (ones @ m @ ones) / ((n - 1) * (n - 2))
        return float((np.trace(k @ m) + middle - 2 / (n - 2) * (ones @ k @ m @ ones)) / (n * (n - 3)))

    hsic = unbiased if debiased else plain
    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / float(np.sqrt(hsic(k, k) * hsic(m, m)))


@given(SEEDS, st.integers(6, 20), st.integers(1, 12), st.integers(1, 12), st.booleans())
def test_cka_is_what_the_definition_says(seed: int, n: int, d: int, e: int, debiased: bool) -> None:
    x = normal(seed, n, d) + 3.0
    y = normal(seed + 1, n, e) + x[:, :1]
    assert linear_cka(x, y, debiased=debiased) == pytest.approx(gram_cka(x, y, debiased=debiased), abs=1e-6)


@given(SEEDS, st.integers(6, 20), st.integers(1, 12), st.booleans())
def test_cka_does_not_see_rotation_scale_and_shift(seed: int, n: int, d: int, debiased: bool) -> None:
    x, y = normal(seed, n, d), normal(seed + 1, n, 7)
    turn, _ = np.linalg.qr(normal(seed + 2, d, d))
    same = linear_cka(x @ turn * 1e-3 + 5.0, x, debiased=debiased)
    assert same == pytest.approx(1.0, abs=1e-6)
    moved = linear_cka(100 * x @ turn - 2.0, y, debiased=debiased)
    assert moved == pytest.approx(linear_cka(x, y, debiased=debiased), abs=1e-6)
    assert linear_cka(y, x, debiased=debiased) == pytest.approx(linear_cka(x, y, debiased=debiased))
    assert -1.0 <= moved <= 1.0


def test_debiased_cka_of_unrelated_features_is_about_nothing() -> None:
    x, y = normal(0, 100, 384), normal(1, 100, 300)
    assert linear_cka(x, y, debiased=False) > 0.7
    assert abs(linear_cka(x, y)) < 0.05


def test_cka_falls_with_noise() -> None:
    x = normal(2, 200, 30)
    scores = [linear_cka(x + noise * normal(3, 200, 30), x) for noise in (0.0, 0.3, 1.0, 3.0)]
    assert scores[0] == pytest.approx(1.0)
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0.3


@pytest.mark.parametrize("debiased", [True, False])
def test_states_that_do_not_vary_share_nothing(debiased: bool) -> None:
    row = normal(4, 1, 16)
    constant, varied = np.repeat(row, 10, axis=0), normal(5, 10, 16)
    for flat in (constant, np.zeros((10, 3)), constant + 1e-15 * varied):
        assert linear_cka(flat, varied, debiased=debiased) == 0.0
        assert linear_cka(varied, flat, debiased=debiased) == 0.0
        assert linear_cka(flat, flat, debiased=debiased) == 0.0
    # the corners of a simplex are all equally far apart: no similarity stands out
    assert linear_cka(np.eye(6), varied[:6]) == 0.0


def test_narrow_types_are_widened() -> None:
    x = normal(6, 30, 8)
    assert linear_cka(x.astype(np.float16), x) == pytest.approx(1.0, abs=1e-4)
    big = (x * 1e4).astype(np.float32)
    assert linear_cka(big * np.float32(1e30), big) == pytest.approx(1.0, abs=1e-6)
    half = np.array([[60000.0, -60000.0]], dtype=np.float16)
    assert probability_loyalty(half, half) == 1.0


@pytest.mark.parametrize("loyalty", [label_loyalty, probability_loyalty])
def test_logits_must_fit(loyalty: Any) -> None:
    with pytest.raises(
        ValueError, match=re.escape("the same shape (n, c) with something in it; these are (2, 3)")
    ):
        loyalty(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match=re.escape("these are (0, 3) and (0, 3)")):
        loyalty(np.ones((0, 3)), np.ones((0, 3)))
    with pytest.raises(ValueError, match=re.escape("these are (3,)")):
        loyalty(np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="Row 1 of the teacher is not finite"):
        loyalty(np.ones((2, 2)), np.array([[1.0, 1.0], [np.nan, 1.0]]))


def test_other_input_must_fit() -> None:
    with pytest.raises(ValueError, match=re.escape("the same shape (n,)")):
        regression_loyalty([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"A scale from 2\.0 to 2\.0 has no extent"):
        regression_loyalty([1.0, 2.0], [2.0, 2.0])
    with pytest.raises(ValueError, match="at least 4, not 3 and 3"):
        linear_cka(np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="at least 2, not 5 and 6"):
        linear_cka(np.ones((5, 2)), np.ones((6, 2)), debiased=False)
    with pytest.raises(ValueError, match=re.escape("The teacher's hidden states are (n, d) finite numbers")):
        linear_cka(np.ones((5, 2)), np.full((5, 2), np.inf))
    with pytest.raises(ValueError, match=re.escape("these have shape (5,)")):
        linear_cka(np.ones(5), np.ones((5, 2)))
