from __future__ import annotations

import numpy as np
import pytest

from polycompress.embeddings.factor_errors import language_errors, mixed_weights, row_errors, weighted_error
from polycompress.embeddings.factorising import Factors, factorise
from polycompress.errors import InputError


def by_hand() -> tuple[np.ndarray, Factors]:
    """Two rows in the plane, of which only the first coordinate is kept."""
    table = np.array([[3.0, 4.0], [2.0, 0.0], [0.0, 0.0]], np.float32)
    coordinates = np.array([[3.0], [2.0], [0.0]], np.float32)
    return table, Factors(coordinates, np.array([[1.0, 0.0]], np.float32), np.array([13**0.5]), 16.0, 29.0)


def test_errors_of_rows() -> None:
    errors = row_errors(*by_hand())
    np.testing.assert_allclose(errors.squared, [16, 0, 0])
    np.testing.assert_allclose(errors.energy, [25, 4, 0])
    np.testing.assert_allclose(errors.cosine, [0.6, 1.0, 1.0])


def test_errors_weighted_by_use() -> None:
    errors = row_errors(*by_hand())
    every = weighted_error(errors)
    assert every.relative == pytest.approx((16 / 29) ** 0.5)
    assert every.cosine == pytest.approx(2.6 / 3)
    found = language_errors(errors, {"deu-Latn": np.array([0, 5, 1]), "yor-Latn": np.array([1, 1, 0])})
    assert found["deu-Latn"].relative == 0.0
    assert found["yor-Latn"].as_dict() == {
        "relative_error": pytest.approx((16 / 29) ** 0.5), "mean_cosine": pytest.approx(0.8),
    }  # fmt: skip


def test_the_overall_error_is_what_the_truncation_dropped() -> None:
    table = np.random.default_rng(0).standard_normal((80, 12)).astype(np.float32)
    factors = factorise(table, 5)
    errors = row_errors(table, factors)
    assert errors.squared.sum() == pytest.approx(factors.dropped, rel=1e-4)
    assert weighted_error(errors).relative ** 2 == pytest.approx(factors.dropped / factors.energy, rel=1e-4)


def test_weights_are_half_use_and_half_presence() -> None:
    weights = mixed_weights({"a": np.array([3, 1, 0, 0]), "b": np.array([0, 0, 10, 0])}, 4)
    np.testing.assert_allclose(weights, [0.5 + 0.75, 0.5 + 0.25, 0.5 + 1.0, 0.5])
    assert weights.mean() == pytest.approx(1.0)


def test_weighing_by_a_language_helps_that_language() -> None:
    table = np.random.default_rng(1).standard_normal((100, 16)).astype(np.float32)
    uses = {"yor-Latn": np.where(np.arange(100) < 8, 5, 0)}
    plain = language_errors(row_errors(table, factorise(table, 4)), uses)["yor-Latn"]
    weighted = factorise(table, 4, row_weights=mixed_weights(uses, 100))
    assert language_errors(row_errors(table, weighted), uses)["yor-Latn"].relative < 0.8 * plain.relative


def test_what_does_not_fit_is_refused() -> None:
    table, factors = by_hand()
    with pytest.raises(InputError, match="do not belong to one of 2 rows of 2"):
        row_errors(table[:2], factors)
    errors = row_errors(table, factors)
    with pytest.raises(InputError, match="ibo-Latn: weights have to be 3 numbers"):
        language_errors(errors, {"ibo-Latn": np.ones(4)})
    with pytest.raises(InputError, match="all weights are 0"):
        weighted_error(errors, np.zeros(3))
    with pytest.raises(InputError, match="ibo-Latn: 4 counts do not fit a table of 3 rows"):
        mixed_weights({"ibo-Latn": np.ones(4)}, 3)
    with pytest.raises(InputError, match="ibo-Latn: its counts are all 0"):
        mixed_weights({"ibo-Latn": np.zeros(3)}, 3)
    with pytest.raises(InputError, match="no language's counts"):
        mixed_weights({}, 3)
