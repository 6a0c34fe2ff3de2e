from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from polycompress.embeddings import bases, blocks
from polycompress.embeddings.blocks import ArrayTable, as_table
from polycompress.embeddings.factorising import Method, Split, factorise
from polycompress.errors import InputError

METHODS: list[Method] = ["thin", "gram", "randomised"]
SPLITS: list[Split] = ["balanced", "paper"]


def falling_table(rows: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Rows whose singular values fall as those of real tables do, with a mean that is not zero."""
    generator = np.random.default_rng(seed)
    values = 1.0 / (1.0 + np.arange(min(rows, width)))
    left, _ = np.linalg.qr(generator.standard_normal((rows, len(values))))
    right, _ = np.linalg.qr(generator.standard_normal((width, len(values))))
    return ((left * values) @ right.T + 0.01).astype(np.float32)


@given(
    rows=st.integers(1, 60),
    width=st.integers(1, 24),
    seed=st.integers(0, 99),
    method=st.sampled_from(METHODS),
    split=st.sampled_from(SPLITS),
)
@settings(deadline=None)
def test_at_full_rank_the_product_is_the_table(
    rows: int, width: int, seed: int, method: Method, split: Split
) -> None:
    table = np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)
    factors = factorise(table, width, method=method, split=split)
    np.testing.assert_allclose(factors.rows(slice(None)), table, atol=2e-5 * max(1.0, np.abs(table).max()))
    assert factors.dropped <= 1e-6 * factors.energy


@given(
    rows=st.integers(2, 60),
    width=st.integers(2, 24),
    seed=st.integers(0, 99),
    method=st.sampled_from(METHODS),
    split=st.sampled_from(SPLITS),
    data=st.data(),
)
@settings(deadline=None)
def test_what_the_rank_leaves_out_is_the_dropped_singular_values(
    rows: int, width: int, seed: int, method: Method, split: Split, data: st.DataObject
) -> None:
    table = np.random.default_rng(seed).standard_normal((rows, width))
    rank = data.draw(st.integers(1, width - 1))
    factors = factorise(table.astype(np.float32), rank, method=method, split=split)
    values = np.linalg.svd(table, compute_uv=False)
    lost = float(np.square(table - factors.rows(slice(None))).sum())
    energy = float(np.square(table).sum())
    assert lost == pytest.approx(np.square(values[rank:]).sum(), abs=1e-4 * energy)
    assert factors.dropped == pytest.approx(lost, abs=1e-4 * energy)
    np.testing.assert_allclose(factors.singular_values[: len(values)], values[:rank], rtol=1e-3, atol=1e-3)


def test_splits_are_the_same_product_and_differ_in_scale() -> None:
    table = falling_table(500, 32)
    paper, balanced = factorise(table, 8, split="paper"), factorise(table, 8, split="balanced")
    np.testing.assert_allclose(paper.rows(slice(None)), balanced.rows(slice(None)), atol=1e-5)
    np.testing.assert_allclose(paper.coordinates.T @ paper.coordinates, np.eye(8), atol=1e-4)
    left = np.linalg.norm(balanced.coordinates, axis=0)
    np.testing.assert_allclose(left, np.linalg.norm(balanced.primitives, axis=1), rtol=1e-4)
    np.testing.assert_allclose(left**2, balanced.singular_values, rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_weights_spare_the_rows_that_count(method: Method) -> None:
    generator = np.random.default_rng(3)
    table = generator.standard_normal((200, 16)).astype(np.float32)
    weights = np.where(np.arange(200) < 10, 100.0, 1.0)
    plain, weighted = (factorise(table, 4, method=method, row_weights=each) for each in (None, weights))

    def lost(factors: object, part: slice) -> float:
        return float(np.square(table[part] - factors.rows(part)).sum())  # type: ignore[attr-defined]

    assert lost(weighted, slice(0, 10)) < 0.7 * lost(plain, slice(0, 10))
    # the weighted truncation is the best one for these weights: that of diag(sqrt w) E
    normal = weights / weights.mean()
    values = np.linalg.svd(np.sqrt(normal)[:, None] * table, compute_uv=False)
    found = (normal * np.square(table - weighted.rows(slice(None))).sum(axis=1)).sum()
    assert found == pytest.approx(np.square(values[4:]).sum(), rel=1e-4)
    assert weighted.dropped == pytest.approx(found, rel=1e-3)


def test_equal_weights_of_any_size_change_nothing() -> None:
    table = falling_table(300, 20)
    plain = factorise(table, 5, method="gram")
    same = factorise(table, 5, method="gram", row_weights=np.full(300, 7))
    np.testing.assert_allclose(plain.rows(slice(None)), same.rows(slice(None)), atol=1e-6)
    assert same.dropped == pytest.approx(plain.dropped)


def test_rows_may_come_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    table = falling_table(300, 20)
    whole = factorise(table, 6, method="gram")
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4 * 20 * 7)
    assert len(list(as_table(table).blocks())) == 43
    np.testing.assert_allclose(
        factorise(table, 6, method="gram").rows(slice(None)), whole.rows(slice(None)), atol=1e-6
    )


def test_the_table_is_streamed_and_progress_told(monkeypatch: pytest.MonkeyPatch) -> None:
    table = falling_table(300, 20)

    class Stream:
        shape = (300, 20)

        def blocks(self) -> Iterator[NDArray[np.float32]]:
            buffer = np.empty((100, 20), np.float32)
            for first in (0, 100, 200):
                buffer[:] = table[first : first + 100]  # one buffer for all: nothing may hold on to it
                yield buffer

    told: list[int] = []
    factors = factorise(Stream(), 6, method="gram", tell=told.append)
    np.testing.assert_allclose(factors.rows(slice(None)), factorise(table, 6).rows(slice(None)), atol=1e-5)
    assert sum(told) == 600


def test_directions_of_no_strength_can_still_learn() -> None:
    table = np.zeros((30, 6), np.float32)
    table[:, 0] = np.arange(30)
    factors = factorise(table, 3)
    np.testing.assert_allclose(factors.rows(slice(None)), table, atol=1e-4)
    assert np.linalg.norm(factors.primitives, axis=1).min() > 0
    nothing = factorise(np.zeros((4, 3), np.float32), 2)
    assert not nothing.coordinates.any() and np.linalg.matrix_rank(nothing.primitives) == 2


def test_half_precision_tables_are_read() -> None:
    table = falling_table(40, 8).astype(np.float16)
    assert np.abs(factorise(table, 8).rows(slice(None)) - table).max() < 1e-5
    assert ArrayTable(table).shape == (40, 8)


def test_auto_takes_the_way_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    from polycompress.embeddings import factorising

    assert factorising._chosen("auto", 1000, 100, 10) == "thin"
    assert factorising._chosen("auto", 250_000, 768, 100) == "gram"
    assert factorising._chosen("auto", 250_000, 16_384, 100) == "randomised"
    assert factorising._chosen("auto", 250_000, 16_384, 16_000) == "gram"


def test_random_directions_are_always_the_same() -> None:
    table = falling_table(100, 50)
    one, other = (bases.randomised_basis(as_table(table), 4, None) for _ in range(2))
    assert np.array_equal(one.directions, other.directions)


@pytest.mark.parametrize(
    ("rank", "message"), [(5, "rank 5: the table is 4 wide"), (0, "can be from 1 to 4"), (-1, "rank -1")]
)
def test_a_rank_out_of_range_is_refused(rank: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        factorise(np.ones((8, 4), np.float32), rank)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(7), r"weights of shape \(7,\) do not fit a table of 8 rows"),
        (np.array([1.0] * 7 + [-1.0]), "the weight of row 7 is -1.0"),
        (np.array([np.nan] + [1.0] * 7), "the weight of row 0 is nan"),
        (np.zeros(8), "all weights are 0"),
    ],
)
def test_wrong_weights_are_refused(weights: NDArray[np.float64], message: str) -> None:
    with pytest.raises(InputError, match=message):
        factorise(np.ones((8, 4), np.float32), 2, row_weights=weights)


@pytest.mark.parametrize("method", METHODS)
def test_values_that_are_no_numbers_are_refused(method: Method) -> None:
    table = np.ones((8, 4), np.float32)
    table[3, 2] = np.nan
    with pytest.raises(InputError, match="not numbers"):
        factorise(table, 2, method=method)


def test_nothing_is_not_factorised() -> None:
    with pytest.raises(InputError, match="nothing to factorise"):
        factorise(np.ones((0, 4), np.float32), 1)
    with pytest.raises(ValueError, match="two axes"):
        ArrayTable(np.ones(4))
