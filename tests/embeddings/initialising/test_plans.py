"""Plans: what they hold, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from polycompress.embeddings.initialising.plans import RowsPlan, Rule, copies, with_averages

POPULATION = np.ones(4, dtype=np.bool_)


def plan() -> RowsPlan:
    rule = np.array([Rule.ROLE, Rule.EXACT, Rule.SAMPLED, Rule.SAMPLED], dtype=np.uint8)
    return copies(rule, np.array([0, 3, -1, -1], dtype=np.int32), POPULATION)


def test_counts_are_a_partition() -> None:
    counts = plan().counts()
    assert counts == {
        **dict.fromkeys([rule.name.lower() for rule in Rule], 0),
        "role": 1,
        "exact": 1,
        "sampled": 2,
    }
    assert sum(counts.values()) == len(plan()) == 4


def test_averages_replace_what_was_there() -> None:
    made = with_averages(
        plan(), np.array([3, 1, 2]), np.array([[2, 1], [1, -1], [-1, -1]]), np.array([[1, 3], [2, 0], [0, 0]])
    )
    assert made.rule.tolist() == [Rule.ROLE, Rule.AVERAGED, Rule.SAMPLED, Rule.AVERAGED]
    assert made.sources.tolist() == [[0, -1], [1, -1], [-1, -1], [2, 1]]
    assert made.weights.tolist() == [[1, 0], [1, 0], [0, 0], [0.25, 0.75]]
    assert plan().counts()["sampled"] == 2
    narrow = with_averages(made, np.array([3]), np.array([[1]]), np.array([[5.0]]), Rule.PIECES)
    assert narrow.sources[3].tolist() == [1, -1]
    assert narrow.rule[3] == Rule.PIECES


def test_no_averages_change_nothing() -> None:
    none = np.zeros((2, 0))
    assert with_averages(plan(), np.array([2, 3]), none.astype(int), none).counts() == plan().counts()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.ones((3, 1), dtype=np.float32)}, "shapes"),
        ({"population": np.ones(3, dtype=np.bool_)}, "row 3 of a source with 3 rows"),
        ({"weights": np.array([[1], [-1], [0], [0]], dtype=np.float32)}, "not be below 0"),
        ({"weights": np.array([[1], [1], [1], [0]], dtype=np.float32)}, "0 where there is no source"),
        ({"rule": np.array([1, 2, 5, 7], dtype=np.uint8)}, "needs sources"),
        ({"rule": np.array([1, 7, 7, 7], dtype=np.uint8)}, "needs sources"),
        ({"weights": np.array([[1], [0.5], [0], [0]], dtype=np.float32)}, "sum to 1"),
        ({"weights": np.array([[1], [np.nan], [0], [0]], dtype=np.float32)}, "not be below 0"),
        ({"weights": np.array([[1], [1.00001], [0], [0]], dtype=np.float32)}, "one source with weight 1"),
    ],
)
def test_what_is_no_plan_is_refused(change: dict[str, Any], message: str) -> None:
    right = plan()
    fields = {name: getattr(right, name) for name in ("rule", "sources", "weights", "population")}
    with pytest.raises(ValueError, match=message):
        RowsPlan(**{**fields, **change})
