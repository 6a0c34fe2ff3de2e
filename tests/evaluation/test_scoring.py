from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from polycompress.errors import InputError
from polycompress.evaluation.records import TextExample, WordPair
from polycompress.evaluation.scoring import (
    METRICS,
    correct,
    examples_hash,
    find_metric,
    mean_over_models,
    score,
    score_details,
    side_by_side,
)


def test_accuracy() -> None:
    counts = correct(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2]))
    assert counts.dtype == np.uint16
    assert counts.shape == (4, 1)
    assert score(METRICS["accuracy"], counts) == 0.75


def test_entity_f1_by_hand() -> None:
    # Found, predicted, true: 3 of 4 predicted are right, of 6 true ones.
    counts = np.array([[1, 2, 3], [2, 2, 2], [0, 0, 1]], np.uint16)
    metric = METRICS["entity-f1"]
    assert score(metric, counts) == pytest.approx(2 * 3 / (4 + 6))
    assert score_details(metric, counts) == {"precision": 3 / 4, "recall": 3 / 6}
    assert score(metric, np.zeros((3, 3), np.uint16)) == 0


def test_what_each_metric_is_called_by() -> None:
    assert find_metric("squad-f1").columns == ("f1", "exact")
    with pytest.raises(InputError, match=r"There is no metric 'f2'\. The metrics are accuracy, entity-f1"):
        find_metric("f2")


@given(st.sampled_from(sorted(METRICS)), st.integers(1, 3), st.integers(1, 20), st.data())
def test_the_mean_over_models_is_the_mean_of_their_scores(
    name: str, models: int, examples: int, data: st.DataObject
) -> None:
    metric = METRICS[name]
    shape = (examples, len(metric.columns))
    each = [data.draw(arrays.arrays(np.uint16, shape, elements=st.integers(0, 9))) for _ in range(models)]
    means = np.mean(side_by_side(each), axis=0)
    together = mean_over_models(metric, models)
    assert float(together(means)) == pytest.approx(np.mean([score(metric, one) for one in each]))
    # Many resamples at once give what one at a time gives.
    np.testing.assert_allclose(together(np.stack([means, means])), [float(together(means))] * 2)


def test_models_that_saw_different_examples() -> None:
    with pytest.raises(ValueError, match="different numbers of examples"):
        side_by_side([np.zeros((2, 1)), np.zeros((3, 1))])


def test_keys_say_whether_examples_are_the_same() -> None:
    one = [TextExample(str(number), "a", None, 0) for number in range(3)]
    assert examples_hash(one) != examples_hash(
        [TextExample(str(number), "b", None, 1) for number in range(3)]
    )
    assert examples_hash(one) != examples_hash(one[::-1])
    assert examples_hash([WordPair("dog", ("Hund",))]) != examples_hash([WordPair("cat", ("Katze",))])
