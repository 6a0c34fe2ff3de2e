"""Differences, cosines and equal predictions, by hand and by property."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from polycompress.pipelines.exporting.checking import TOLERANCE, Tally, batches_of, cosines, largest_gap
from tests.evaluation.tiny_task_models import encoder

MASK = np.array([[True, True, False]])
ROWS = arrays(np.float32, (4, 3), elements=st.floats(-1e3, 1e3, width=32))


def array(*values: object) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_largest_gap_by_hand() -> None:
    nan, inf = math.nan, math.inf
    assert largest_gap(array(1, 2, 3), array(1, 2.5, 3)) == 0.5
    assert largest_gap(array(nan, inf, -inf), array(nan, inf, -inf)) == 0
    assert largest_gap(array(1, 2), array(1, nan)) == inf
    assert largest_gap(array(1, inf), array(1, -inf)) == inf
    assert largest_gap(array(1, 2), array(1)) == inf
    assert largest_gap(array(), array()) == 0


@given(ROWS, ROWS)
def test_a_gap_is_the_same_either_way(one: np.ndarray, other: np.ndarray) -> None:
    assert largest_gap(one, other) == largest_gap(other, one) >= 0
    assert largest_gap(one, one.copy()) == 0


@given(ROWS, ROWS, st.floats(0.01, 100))
def test_cosines_do_not_know_lengths(one: np.ndarray, other: np.ndarray, factor: float) -> None:
    found = cosines(one, other)
    assert found.shape == (4,)
    assert (np.abs(found) <= 1 + 1e-9).all()
    stretched = one.astype(np.float64) * factor
    np.testing.assert_allclose(cosines(stretched, other), found, atol=1e-6)


def test_cosines_by_hand() -> None:
    np.testing.assert_allclose(
        cosines(array([3, 4], [1, 0], [0, 0]), array([3, 4], [0, 2], [1, 1])), [1.0, 0.0, 0.0]
    )


def test_classes_of_tokens_without_padding() -> None:
    tally = Tally()
    wanted = array([[1, 2], [4, 3], [0, 9]])
    found = array([[1, 2.25], [3, 4], [9, 0]])
    tally.add({"logits": wanted}, {"logits": found}, MASK)
    agreement = tally.agreement()
    assert (agreement.texts, agreement.tokens, agreement.predictions) == (1, 2, 2)
    assert (agreement.largest_difference, agreement.largest_output) == (1.0, 4.0)
    assert agreement.equal_predictions == 0.5
    assert agreement.mean_cosine is None
    assert not agreement.passed


def test_classes_of_texts() -> None:
    tally = Tally()
    for _ in range(2):
        tally.add({"logits": array([1, 2])}, {"logits": array([1, 2])}, MASK)
    assert tally.agreement().predictions == 2
    assert tally.agreement().equal_predictions == 1
    assert tally.agreement().passed


def test_as_many_classes_as_tokens() -> None:
    tally = Tally()
    tally.add({"logits": array([0, 1, 5])}, {"logits": array([0, 1, 2])}, MASK)
    found = tally.agreement()
    assert (found.predictions, found.equal_predictions, found.largest_difference) == (1, 1.0, 3.0)


def test_a_single_number_chooses_nothing() -> None:
    tally = Tally()
    tally.add({"logits": array([1])}, {"logits": array([2])}, MASK)
    assert tally.agreement().equal_predictions is None


def test_answers_begin_and_end_in_the_text() -> None:
    begins, ends = array([1, 2, 9]), array([5, 1, 9])
    tally = Tally()
    tally.add(
        {"start_logits": begins, "end_logits": ends},
        {"start_logits": array([1, 2, -9]), "end_logits": array([1, 5, 9])},
        MASK,
    )
    found = tally.agreement()
    assert (found.predictions, found.equal_predictions) == (2, 0.5)
    assert found.largest_difference == 4


def test_vectors_of_texts_go_before_those_of_tokens() -> None:
    states = array([[1, 0], [0, 1], [5, 5]])
    turned = array([[0, 1], [0, 1], [0, 0]])
    tally = Tally()
    tally.add({"last_hidden_state": states}, {"last_hidden_state": turned}, MASK)
    assert (tally.agreement().mean_cosine, tally.agreement().least_cosine) == (0.5, 0.0)
    tally = Tally()
    vector = {"sentence_embedding": array([1, 1])}
    tally.add({"last_hidden_state": states, **vector}, {"last_hidden_state": turned, **vector}, MASK)
    assert tally.agreement().mean_cosine == pytest.approx(1)


@pytest.mark.parametrize(("gap", "passed"), [(0.5, True), (2.0, False)])
def test_rounding_passes_and_more_does_not(gap: float, passed: bool) -> None:
    tally = Tally()
    wanted = array([100.0, 0.0])
    tally.add({"logits": wanted}, {"logits": wanted + np.float32(gap * TOLERANCE * 100)}, MASK)
    assert tally.agreement().passed is passed


def test_both_are_run_on_every_length() -> None:
    texts = ["Heute ist das Wetter schön.", "und morgen"]
    batches = batches_of(encoder(max_length=40), texts * 6, over_vocabulary=False)
    assert [len(batch["input_ids"]) for batch in batches] == [1, 8, 4]
    assert batches[0]["input_ids"].shape == (1, 40)  # all of them joined
    assert all((batch["attention_mask"] == 0).any() for batch in batches[1:])
    rows = batches_of(encoder(max_length=400), texts * 6, over_vocabulary=True)
    assert [len(batch["input_ids"]) for batch in rows] == [1, *[2] * 6]
    assert rows[0]["input_ids"].shape == rows[0]["attention_mask"].shape == (1, 128)
