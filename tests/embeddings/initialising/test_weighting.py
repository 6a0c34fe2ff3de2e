"""Weights out of similarities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from polycompress.embeddings.initialising.weighting import softmax, sparsemax

ROWS = arrays.arrays(np.float64, st.tuples(st.just(1), st.integers(1, 12)), elements=st.floats(-1, 1))
YES = np.ones((1, 3), dtype=np.bool_)


def test_softmax_by_hand() -> None:
    made = softmax(np.array([[0.5, 0.4, 0.9]]), np.array([[True, True, False]]), 0.1)
    assert np.allclose(made, [[np.e / (np.e + 1), 1 / (np.e + 1), 0]])


@given(values=ROWS, temperature=st.sampled_from([1e-300, 1e-3, 0.1, 1.0, 1e300]))
def test_softmax_is_an_average(values: NDArray[np.float64], temperature: float) -> None:
    made = softmax(values, np.ones(values.shape, dtype=np.bool_), temperature)
    assert (made >= 0).all()
    assert np.allclose(made.sum(), 1)
    assert (np.diff(made[0, np.argsort(values[0])]) >= 0).all()


def test_temperatures_at_the_ends() -> None:
    values = np.array([[0.9, 0.8, 0.1]])
    assert softmax(values, YES, 1e-9).tolist() == [[1, 0, 0]]
    assert np.allclose(softmax(values, YES, 1e9), 1 / 3)
    assert np.allclose(softmax(np.array([[0.9, 0.9, 0.1]]), YES, 1e-9), [[0.5, 0.5, 0]])


def test_nothing_counts() -> None:
    assert softmax(np.array([[0.9, 0.8, 0.1]]), ~YES, 0.1).tolist() == [[0, 0, 0]]
    assert sparsemax(np.array([[0.9, 0.8, 0.1]]), ~YES).tolist() == [[0, 0, 0]]
    assert softmax(np.zeros((2, 0)), np.zeros((2, 0), dtype=np.bool_), 0.1).shape == (2, 0)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_must_be_above_0(temperature: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        softmax(np.zeros((1, 3)), YES, temperature)


def test_sparsemax_by_hand() -> None:
    # Support {1.0, 0.8}: threshold (1.8 - 1) / 2 = 0.4.
    assert np.allclose(sparsemax(np.array([[1.0, 0.8, 0.3]]), YES), [[0.6, 0.4, 0.0]])
    assert np.allclose(sparsemax(np.array([[2.0, 0.8, 0.3]]), YES), [[1.0, 0.0, 0.0]])


@given(ROWS)
def test_sparsemax_is_the_nearest_point_of_the_simplex(values: NDArray[np.float64]) -> None:
    falling = -np.sort(-values, axis=1)
    made = sparsemax(falling, np.ones(falling.shape, dtype=np.bool_))
    assert (made >= 0).all()
    assert np.allclose(made.sum(), 1)
    # Optimality: one threshold t with p = max(z - t, 0).
    support = made[0] > 1e-12
    thresholds = (falling - made)[0, support]
    assert np.allclose(thresholds, thresholds[0])
    assert (falling[0, ~support] <= thresholds[0] + 1e-9).all()
