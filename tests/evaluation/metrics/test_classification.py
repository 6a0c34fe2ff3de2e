"""Accuracy and macro F1, by hand and against scikit-learn."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.evaluation.metrics import accuracy, macro_f1

LABELS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=40)


def test_by_hand() -> None:
    assert accuracy([0, 1, 2, 2], [0, 1, 1, 2]) == 0.75
    assert accuracy(np.array([True, False]), [1, 1]) == 0.5
    # class 0: 1 right of 1 predicted and 2 true, F1 2/3; class 1: 2 right of 3 predicted and 2 true, F1 4/5
    assert macro_f1([0, 1, 1, 1], [0, 0, 1, 1]) == pytest.approx((2 / 3 + 4 / 5) / 2)
    # class 5 was never predicted, class 9 is never right: both 0
    assert macro_f1([9, 9, 3], [5, 5, 3]) == pytest.approx(1 / 3)


@given(LABELS)
def test_as_scikit_learn_says(pairs: list[tuple[int, int]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    predicted, gold = zip(*pairs, strict=True)
    assert accuracy(predicted, gold) == pytest.approx(metrics.accuracy_score(gold, predicted))
    assert macro_f1(predicted, gold) == pytest.approx(
        metrics.f1_score(gold, predicted, average="macro", zero_division=0)
    )


@given(LABELS)
def test_what_is_equal_scores_one(pairs: list[tuple[int, int]]) -> None:
    labels, others = zip(*pairs, strict=True)
    assert accuracy(labels, labels) == macro_f1(labels, labels) == 1.0
    assert 0.0 <= macro_f1(labels, others) <= 1.0
    assert accuracy(labels, others) == accuracy(others, labels)


@pytest.mark.parametrize("score", [accuracy, macro_f1])
@pytest.mark.parametrize(
    ("predicted", "gold", "message"),
    [
        ([], [], "no labels to score"),
        ([1], [1, 2], "not with shapes (1,) and (2,)"),
        ([[1]], [[1]], "not with shapes (1, 1)"),
        ([0.5], [1], "the predicted ones are float64"),
        ([1], ["PER"], "the gold ones are <U3"),
    ],
)
def test_what_cannot_be_scored(score: object, predicted: object, gold: object, message: str) -> None:
    assert callable(score)
    with pytest.raises(ValueError, match=re.escape(message)):
        score(predicted, gold)
