from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from polycompress.vocab.training.balancing import MOST_TIMES, balanced, times_each


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(1, 10**9), min_size=1), st.floats(0, 1))
def test_shares_follow_the_exponent(sizes: dict[str, int], exponent: float) -> None:
    times = times_each(sizes, exponent)
    assert min(times.values()) == 1.0 and max(times.values()) <= MOST_TIMES
    ordered = sorted(sizes, key=lambda name: sizes[name])
    assert all(times[one] >= times[two] for one, two in pairwise(ordered))
    if exponent == 1:
        assert set(times.values()) == {1.0}


def test_little_text_counts_more_often_but_not_for_ever() -> None:
    assert times_each({"a": 10_000, "b": 100}, 0.5) == {"a": 1.0, "b": 10.0}
    assert times_each({"a": 10**9, "b": 1}, 0.0)["b"] == MOST_TIMES


def test_texts_come_as_often_as_they_count() -> None:
    lines = [f"text {number}" for number in range(2000)]
    stream = list(balanced({"a": ["x"], "b": lines}, {"a": 3.0, "b": 1.25}))
    assert stream[:3] == ["x"] * 3
    assert set(stream[3:]) == set(lines)
    assert 2400 < len(stream) - 3 < 2600
    assert stream == list(balanced({"a": ["x"], "b": lines}, {"a": 3.0, "b": 1.25}))
