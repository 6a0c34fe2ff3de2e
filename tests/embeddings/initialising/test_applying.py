"""Rows made by plans: copies to the bit, convex combinations, draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from polycompress.embeddings.initialising.applying import apply_plan
from polycompress.embeddings.initialising.drawing import draws, moments
from polycompress.embeddings.initialising.plans import RowsPlan, Rule, copies, with_averages


def random_plan(draw: np.random.Generator, rows: int, sources: int, k: int) -> RowsPlan:
    """Copies, averages and draws, in any order."""
    rule = draw.choice([Rule.EXACT, Rule.SAMPLED], rows).astype(np.uint8)
    source = np.where(rule == Rule.EXACT, draw.integers(0, sources, rows), -1).astype(np.int32)
    plan = copies(rule, source, np.ones(sources, dtype=np.bool_))
    tokens = np.flatnonzero((rule == Rule.SAMPLED) & (draw.random(rows) < 0.6))
    chosen = draw.integers(0, sources, (len(tokens), k))
    chosen[draw.random(len(tokens)) < 0.3, k // 2 + 1 :] = -1
    return with_averages(plan, tokens, chosen, np.where(chosen >= 0, draw.random(chosen.shape) + 1e-3, 0))


@given(
    seed=st.integers(0, 2**32),
    k=st.integers(1, 10),
    table=arrays.arrays(
        np.float32, st.tuples(st.integers(1, 9), st.integers(1, 4)), elements=st.floats(-100, 100, width=32)
    ),
)
def test_averages_are_convex_and_copies_are_copies(seed: int, k: int, table: NDArray[np.float32]) -> None:
    plan = random_plan(np.random.default_rng(seed), 12, len(table), k)
    made = apply_plan(plan, table, seed=0)
    for token in range(len(plan)):
        own = table[plan.sources[token][plan.sources[token] >= 0]]
        if plan.rule[token] == Rule.EXACT:
            assert made[token].tobytes() == own[0].tobytes()
        elif plan.rule[token] == Rule.AVERAGED:
            assert (made[token] >= own.min(axis=0)).all()
            assert (made[token] <= own.max(axis=0)).all()
            weights = plan.weights[token][plan.weights[token] > 0].astype(np.float64)
            assert len(weights) <= k
            assert abs(weights.sum() - 1) < 1e-6
            # In the span of the source's rows, with these weights.
            assert np.allclose(made[token], weights @ own, rtol=1e-5, atol=1e-4)


def test_odd_values_are_copied_to_the_bit() -> None:
    table = np.array([[np.nan, -0.0], [np.inf, 1e-45]], dtype=np.float32)
    plan = copies(
        np.full(3, Rule.EXACT, dtype=np.uint8),
        np.array([1, 0, 1], dtype=np.int32),
        np.ones(2, dtype=np.bool_),
    )
    assert apply_plan(plan, table, seed=0).tobytes() == table[[1, 0, 1]].tobytes()


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("sampling", ["diagonal", "covariance", "zero"])
def test_blocks_and_times_cannot_be_seen(kind: type[np.floating], sampling: str) -> None:
    draw = np.random.default_rng(1)
    table = draw.standard_normal((40, 6)).astype(kind)
    plan = random_plan(draw, 100, 40, 5)
    made = apply_plan(plan, table, seed=3, sampling=sampling)
    assert made.dtype == kind
    for block in (1, 7, 1000):
        assert np.array_equal(made, apply_plan(plan, table, seed=3, sampling=sampling, block=block))
    other = apply_plan(plan, table, seed=4, sampling=sampling)
    drawn = plan.rule == Rule.SAMPLED
    assert np.array_equal(made[~drawn], other[~drawn])
    assert (made[drawn] != other[drawn]).any() == (sampling != "zero")


def test_a_bias_is_copied_averaged_and_zero() -> None:
    rule = np.array([Rule.EXACT, Rule.SAMPLED, Rule.SAMPLED], dtype=np.uint8)
    plan = copies(rule, np.array([0, -1, -1], dtype=np.int32), np.ones(2, dtype=np.bool_))
    plan = with_averages(plan, np.array([2]), np.array([[0, 1]]), np.array([[0.25, 0.75]]))
    bias = np.array([4.0, 8.0], dtype=np.float32)
    assert apply_plan(plan, bias, seed=0, sampling="zero").tolist() == [4.0, 0.0, 7.0]
    assert apply_plan(plan, bias[:, None], seed=0, sampling="zero").tolist() == [[4.0], [0.0], [7.0]]


def test_an_average_commutes_with_a_basis() -> None:
    """Rows of coordinates times the basis are rows of the reconstructed table."""
    draw = np.random.default_rng(2)
    coordinates, basis = draw.standard_normal((30, 4)), draw.standard_normal((4, 9))
    plan = random_plan(draw, 50, 30, 4)
    known = plan.rule != Rule.SAMPLED
    left = apply_plan(plan, coordinates, seed=0) @ basis
    right = apply_plan(plan, coordinates @ basis, seed=0)
    assert np.allclose(left[known], right[known], rtol=1e-12)


def drawn_only(rows: int, population: NDArray[np.bool_]) -> RowsPlan:
    return copies(np.full(rows, Rule.SAMPLED, dtype=np.uint8), np.full(rows, -1, dtype=np.int32), population)


def test_draws_take_after_the_population() -> None:
    draw = np.random.default_rng(3)
    mixing = np.array([[1.0, 0.9], [0.0, 0.5]])
    table = (draw.standard_normal((3000, 2)) @ mixing + [5.0, -3.0]).astype(np.float32)
    table[2000:] = 1e6  # padding
    population = np.arange(3000) < 2000
    real = table[:2000]
    for sampling, correlated in (("diagonal", False), ("covariance", True)):
        made = apply_plan(drawn_only(20_000, population), table, seed=1, sampling=sampling)
        assert np.allclose(made.mean(axis=0), real.mean(axis=0), atol=0.03)
        assert np.allclose(made.std(axis=0), real.std(axis=0), atol=0.03)
        found, wanted = np.corrcoef(made.T)[0, 1], np.corrcoef(real.T)[0, 1] if correlated else 0.0
        assert abs(found - wanted) < 0.03


def test_covariance_of_less_than_full_rank() -> None:
    table = np.outer(np.arange(5.0), [1.0, 2.0, 0.0])
    made = apply_plan(drawn_only(50, np.ones(5, dtype=np.bool_)), table, seed=1, sampling="covariance")
    assert np.allclose(made[:, 1], 2 * made[:, 0])
    assert np.allclose(made[:, 2], 0)
    assert made[:, 0].std() > 0.5


def test_draws_come_in_blocks_of_one_sequence() -> None:
    found = moments(np.random.default_rng(0).standard_normal((9, 3)), np.ones(9, dtype=np.bool_), "diagonal")
    blocks = list(draws(found, 2500, 7))
    assert [len(block) for block in blocks] == [1024, 1024, 452]
    assert np.array_equal(next(draws(found, 1024, 7)), blocks[0])


def test_a_table_padded_past_the_tokenizer_and_one_too_short() -> None:
    plan = copies(
        np.array([Rule.EXACT], dtype=np.uint8), np.array([1], dtype=np.int32), np.ones(2, dtype=np.bool_)
    )
    assert apply_plan(plan, np.arange(5.0), seed=0).tolist() == [1.0]
    with pytest.raises(ValueError, match="a source of 1 rows for a plan that knows 2"):
        apply_plan(plan, np.arange(1.0), seed=0)


def test_draws_after_nothing_or_after_nan_are_refused() -> None:
    with pytest.raises(ValueError, match="no source row to take after"):
        apply_plan(drawn_only(1, np.zeros(2, dtype=np.bool_)), np.ones((2, 2)), seed=0)
    with pytest.raises(ValueError, match="not finite"):
        apply_plan(drawn_only(1, np.ones(2, dtype=np.bool_)), np.array([[1.0], [np.nan]]), seed=0)


def test_tables_in_files_are_read_by_block(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("table") / "table.bin"
    table = np.memmap(path, dtype=np.float32, mode="w+", shape=(40, 3))
    table[:] = np.random.default_rng(0).standard_normal((40, 3))
    plan = random_plan(np.random.default_rng(1), 60, 40, 3)
    made = apply_plan(plan, table, seed=0)
    assert np.array_equal(made, apply_plan(plan, np.array(table), seed=0))
    assert not isinstance(made, np.memmap)
