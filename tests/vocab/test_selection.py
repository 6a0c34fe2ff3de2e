"""Which ids are kept, and why."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.vocab.selection import Limit, ranking, select_ids

Ids = NDArray[np.int64]
V = 40


def _nothing(ids: Ids) -> Ids:
    return np.unique(ids)


def _halves(ids: Ids) -> Ids:
    """A closure: every id needs its half."""
    closed = set(ids.tolist())
    for token in ids.tolist():
        while token:
            token //= 2
            closed.add(token)
    return np.array(sorted(closed), dtype=np.int64)


CLOSURES: list[Callable[[Ids], Ids]] = [_nothing, _halves]
SHARES = st.lists(
    st.lists(st.sampled_from([0.0, 0.0, 1.0, 2.0, 5.0]), min_size=V, max_size=V).filter(any).map(np.array),
    min_size=1,
    max_size=3,
).map(lambda rows: {f"l{index}": row / row.sum() for index, row in enumerate(rows)})
REQUIRED = st.dictionaries(st.integers(0, V - 1), st.sampled_from(["special", "byte"]), max_size=5)


@pytest.mark.parametrize("close", CLOSURES)
@given(shares=SHARES, required=REQUIRED, wanted=st.sampled_from([0.1, 0.5, 0.9, 1.0]))
def test_coverage_is_reached_by_the_fewest(
    close: Callable[[Ids], Ids],
    shares: dict[str, NDArray[np.float64]],
    required: dict[int, str],
    wanted: float,
) -> None:
    selection = select_ids(shares, required, Limit(by="coverage", value=wanted), close=close)
    assert all(share >= wanted - 1e-9 for share in selection.coverage.values())
    assert set(required) <= set(selection.keep_ids.tolist())
    assert np.array_equal(close(selection.keep_ids), selection.keep_ids)
    chosen = selection.rules.get("coverage", np.empty(0, dtype=np.int64))
    if len(chosen) and close is _nothing:
        score = np.maximum.reduce(list(shares.values()))
        last = min(chosen, key=lambda token: (score[token], -token))
        without = selection.keep_ids[selection.keep_ids != last]
        assert any(share[without].sum() < wanted - 1e-12 for share in shares.values())


@pytest.mark.parametrize("close", CLOSURES)
@given(shares=SHARES, required=REQUIRED, size=st.integers(12, V))
def test_size_is_never_exceeded(
    close: Callable[[Ids], Ids], shares: dict[str, NDArray[np.float64]], required: dict[int, str], size: int
) -> None:
    base = close(np.array(sorted(required), dtype=np.int64))
    limit = Limit(by="size", value=size)
    if len(base) > size:
        with pytest.raises(InputError, match=f"--size {size} is smaller than the {len(base)} tokens"):
            select_ids(shares, required, limit, close=close)
        return
    selection = select_ids(shares, required, limit, close=close)
    assert len(selection.keep_ids) <= size
    if close is _nothing:
        used = np.count_nonzero(np.maximum.reduce(list(shares.values())))
        assert len(selection.keep_ids) == min(size, len(np.union1d(base, np.flatnonzero(_any(shares)))))
        assert used


def _any(shares: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.maximum.reduce(list(shares.values()))


@pytest.mark.parametrize("close", CLOSURES)
@given(shares=SHARES, required=REQUIRED)
def test_every_kept_id_has_one_rule(
    close: Callable[[Ids], Ids], shares: dict[str, NDArray[np.float64]], required: dict[int, str]
) -> None:
    selection = select_ids(shares, required, Limit(by="coverage", value=0.8), close=close)
    explained = np.concatenate([*selection.rules.values(), np.empty(0, dtype=np.int64)])
    assert sorted(explained.tolist()) == selection.keep_ids.tolist()


def test_ties_break_by_id_and_languages_by_their_maximum() -> None:
    shares = {"a": np.array([0.0, 0.4, 0.4, 0.2]), "b": np.array([0.5, 0.0, 0.0, 0.5])}
    assert ranking(shares, np.array([2])).tolist() == [2, 0, 3, 1]
    kept = select_ids(shares, {}, Limit(by="size", value=2), close=_nothing).keep_ids
    assert kept.tolist() == [0, 3]


def test_min_count_counts_a_corpus() -> None:
    shares = {"a": np.array([0.5, 0.3, 0.2, 0.0])}
    counts = np.array([5, 3, 2, 0])
    kept = select_ids(shares, {3: "special"}, Limit(by="min_count", value=3), close=_nothing, counts=counts)
    assert kept.keep_ids.tolist() == [0, 1, 3]
    with pytest.raises(InputError, match="--min-count counts occurrences in a corpus"):
        select_ids(shares, {}, Limit(by="min_count", value=3), close=_nothing)


def test_min_share_is_of_any_language_s_corpus() -> None:
    """The rule of BiStil: the largest relative frequency over languages."""
    shares = {"a": np.array([0.5, 0.3, 0.2, 0.0]), "b": np.array([0.0, 0.1, 0.9, 0.0])}
    largest = np.array([0.5, 1e-6, 9e-7, 0.0])
    limit = Limit(by="min_share", value=1e-6)
    kept = select_ids(shares, {3: "special"}, limit, close=_nothing, frequencies=largest)
    assert kept.keep_ids.tolist() == [0, 1, 3]
    with pytest.raises(InputError, match="--min-share counts occurrences in a corpus"):
        select_ids(shares, {}, limit, close=_nothing)
