"""Nearest neighbours: the same as by the definition, whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from polycompress.embeddings.initialising.neighbours import Neighbours, Vectors, nearest, unit_rows


def by_definition(targets: Vectors, sources: Vectors, k: int) -> tuple[list[list[int]], list[list[float]]]:
    """All cosines in float64, sorted."""
    floor = (targets.shape[1] + 2) * 2.0**-23
    ids, cosines = [], []
    for target in targets.astype(np.float64):
        own = [float(np.add.reduce(target * source)) for source in sources.astype(np.float64)]
        best = sorted((-cosine, number) for number, cosine in enumerate(own) if cosine > floor)[:k]
        ids.append([number for _, number in best] + [-1] * (k - len(best)))
        cosines.append([-cosine for cosine, _ in best] + [0.0] * (k - len(best)))
    return ids, cosines


def same(left: Neighbours, right: Neighbours) -> bool:
    return np.array_equal(left.ids, right.ids) and np.array_equal(left.cosines, right.cosines)


@given(
    seed=st.integers(0, 2**32),
    targets=st.integers(0, 9),
    sources=st.integers(0, 40),
    width=st.integers(1, 5),
    k=st.integers(1, 12),
    blocks=st.tuples(st.integers(1, 10), st.integers(1, 41)),
    few=st.booleans(),
)
def test_as_by_the_definition(
    seed: int, targets: int, sources: int, width: int, k: int, blocks: tuple[int, int], few: bool
) -> None:
    draw = np.random.default_rng(seed)

    # With few different values, ties, equal vectors, opposite ones and zeros are common.
    def vectors(rows: int) -> NDArray[np.float64]:
        return draw.integers(-1, 2, (rows, width)) if few else draw.standard_normal((rows, width))

    left, right = unit_rows(vectors(targets)), unit_rows(vectors(sources))
    found = nearest(left, right, k, target_block=blocks[0], source_block=blocks[1])
    ids, cosines = by_definition(left, right, k)
    assert found.ids.tolist() == ids
    assert found.cosines.tolist() == cosines


def test_blocks_cannot_be_seen() -> None:
    draw = np.random.default_rng(3)
    targets = unit_rows(draw.standard_normal((150, 50)))
    # Every source three times over, so that ties fall on the edges of tiles and of the k.
    sources = unit_rows(np.repeat(draw.standard_normal((400, 50)), 3, axis=0)[draw.permutation(1200)])
    found = nearest(targets, sources, 10)
    for blocks in ((1, 1200), (7, 100), (64, 33), (1000, 5000)):
        assert same(found, nearest(targets, sources, 10, target_block=blocks[0], source_block=blocks[1]))
    half = nearest(targets[70:], sources, 10)
    assert np.array_equal(half.ids, found.ids[70:])
    assert np.array_equal(half.cosines, found.cosines[70:])


def test_order_of_sources_cannot_be_seen_but_in_ties() -> None:
    draw = np.random.default_rng(4)
    targets, sources = unit_rows(draw.standard_normal((20, 8))), unit_rows(draw.standard_normal((300, 8)))
    found, order = nearest(targets, sources, 5), draw.permutation(300)
    other = nearest(targets, sources[order], 5)
    assert np.array_equal(found.cosines, other.cosines)
    assert np.array_equal(found.ids, order[other.ids])


def test_sources_that_are_barely_better_are_not_missed() -> None:
    # Every source is nearer than those before it, in the end by less than float32 can tell.
    cosines = 0.5 + 1e-3 * (1 - np.exp(-np.arange(20_000) / 1500))
    sources = unit_rows(np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1))
    target = unit_rows(np.array([[1.0, 0.0]]))
    assert nearest(target, sources, 5).ids.tolist() == by_definition(target, sources, 5)[0]


def test_equal_sources_give_the_lowest_rows() -> None:
    sources = np.ones((9000, 4), dtype=np.float32) / 2
    found = nearest(sources[:3], sources, 4)
    assert found.ids.tolist() == [[0, 1, 2, 3]] * 3
    assert found.cosines.tolist() == [[1.0] * 4] * 3


def test_only_positive_cosines_count() -> None:
    sources = unit_rows(np.array([[0.0, 1.0], [-1.0, 0.0], [1.0, 5.0], [0.0, 0.0]]))
    found = nearest(unit_rows(np.array([[1.0, 0.0], [-1.0, -0.1]])), sources, 3)
    assert found.ids.tolist() == [[2, -1, -1], [1, -1, -1]]
    assert (found.cosines[:, 1:] == 0).all()


def test_unit_rows() -> None:
    made = unit_rows(
        np.array([[3.0, 4.0], [0.0, 0.0], [1e-30, 0.0], [1e200, -1e200]]), np.array([3, 0, 1, 2])
    )
    assert made.dtype == np.float32
    assert np.allclose(made, [[0.5**0.5, -(0.5**0.5)], [0.6, 0.8], [0, 0], [1, 0]], atol=1e-7)


def test_progress_counts_targets() -> None:
    told: list[int] = []
    nearest(unit_rows(np.eye(5)), unit_rows(np.eye(5)), 1, target_block=2, progress=told.append)
    assert told == [2, 2, 1]


def test_wrong_requests() -> None:
    with pytest.raises(ValueError, match="targets have 3 values, sources 2"):
        nearest(unit_rows(np.eye(3)), unit_rows(np.eye(2)), 1)
    with pytest.raises(ValueError, match="k is 0"):
        nearest(unit_rows(np.eye(3)), unit_rows(np.eye(3)), 0)
