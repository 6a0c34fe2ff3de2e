"""Nearest neighbours against the formulas written out, ties, tiles, and vectors that no model should give."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from polycompress.evaluation.metrics import (
    cosine_nearest,
    csls,
    precision_at_1,
    retrieval,
    retrieval_accuracy,
)
from polycompress.evaluation.metrics.retrieval import translation_hits

SEEDS = st.integers(0, 2**32 - 1)
Vectors = NDArray[Any]


def vectors(seed: int, *shape: int) -> Vectors:
    return np.random.default_rng(seed).normal(size=shape)


def cosines(queries: Vectors, targets: Vectors) -> Vectors:
    return np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in targets] for a in queries])


def csls_scores(queries: Vectors, targets: Vectors, sources: Vectors, neighbours: int) -> Vectors:
    """``2 cos(x, y) - r_T(x) - r_S(y)`` of Conneau et al. (2018), both means included."""
    near_query = np.sort(cosines(queries, targets), axis=1)[:, -neighbours:].mean(axis=1)
    near_target = np.sort(cosines(targets, sources), axis=1)[:, -neighbours:].mean(axis=1)
    return 2 * cosines(queries, targets) - near_query[:, None] - near_target[None, :]


@given(SEEDS, st.integers(1, 12), st.integers(1, 12), st.integers(2, 6))
def test_cosine_by_the_formula(seed: int, queries: int, targets: int, width: int) -> None:
    asked, there = vectors(seed, queries, width), vectors(seed + 1, targets, width)
    found = cosine_nearest(asked, there)
    wanted = cosines(asked, there)
    assert np.allclose(wanted[np.arange(queries), found], wanted.max(axis=1), atol=2e-6)


@given(SEEDS, st.integers(1, 12), st.integers(1, 12), st.integers(0, 20), st.integers(1, 15))
def test_csls_by_the_formula(seed: int, queries: int, targets: int, more: int, neighbours: int) -> None:
    asked, there = vectors(seed, queries, 4), vectors(seed + 1, targets, 4)
    sources = np.concatenate([asked, vectors(seed + 2, more, 4)])
    wanted = csls_scores(asked, there, sources, neighbours)
    found = csls(asked, there, sources=sources, neighbours=neighbours)
    assert np.allclose(wanted[np.arange(queries), found], wanted.max(axis=1), atol=4e-6)
    if not more:
        assert (csls(asked, there, neighbours=neighbours) == found).all()


def test_csls_takes_a_hub_down() -> None:
    # each source lies 30 degrees from the hub, each in a direction of its own; its target 36 degrees further that way
    near, far = np.deg2rad([30.0, 66.0])
    hub, own = np.eye(5)[:1], np.eye(5)[1:]
    sources = np.cos(near) * hub + np.sin(near) * own
    targets = np.concatenate([np.cos(far) * hub + np.sin(far) * own, hub])
    assert cosine_nearest(sources, targets).tolist() == [4, 4, 4, 4]
    assert csls(sources, targets, neighbours=2).tolist() == [0, 1, 2, 3]


@given(SEEDS)
def test_lengths_do_not_matter(seed: int) -> None:
    asked, there = vectors(seed, 8, 5), vectors(seed + 1, 9, 5)
    scales = np.exp(vectors(seed + 2, 9, 1) * 20)
    for nearest in (cosine_nearest, csls):
        assert (nearest(asked, there * scales) == nearest(asked, there)).all()
        assert (nearest(asked * 1e200, there) == nearest(asked, there)).all()
        assert (nearest(asked * 1e-200, there) == nearest(asked, there)).all()


@given(SEEDS, st.integers(11, 30))
def test_every_vector_finds_itself(seed: int, number: int) -> None:
    own = vectors(seed, number, 16).astype(np.float32)
    assert retrieval_accuracy(cosine_nearest(own, own)) == 1.0
    assert retrieval_accuracy(csls(own, own)) == 1.0
    order = np.random.default_rng(seed).permutation(number)
    assert retrieval_accuracy(cosine_nearest(own[order], own), order) == 1.0


@pytest.mark.parametrize("nearest", [cosine_nearest, csls])
def test_of_tied_targets_the_first_is_found(nearest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = vectors(0, 1, 384).astype(np.float32)
    same = np.repeat(one, 700, axis=0)
    assert nearest(same, same).tolist() == [0] * 700
    assert retrieval_accuracy(nearest(same, same)) == 1 / 700  # a collapsed model scores chance
    assert nearest(np.zeros((3, 384)), same).tolist() == [0, 0, 0]
    twice = np.concatenate([vectors(1, 300, 384), vectors(1, 300, 384)])
    monkeypatch.setattr(retrieval, "_TILE", 6000)
    assert nearest(twice, twice).tolist() == [*range(300), *range(300)]


@given(SEEDS, st.integers(1, 60))
def test_tiles_change_nothing(seed: int, tile: int) -> None:
    asked, there = vectors(seed, 13, 8), vectors(seed + 1, 11, 8)
    whole = cosine_nearest(asked, there), csls(asked, there, neighbours=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "_TILE", tile)
        assert (cosine_nearest(asked, there) == whole[0]).all()
        assert (csls(asked, there, neighbours=3) == whole[1]).all()


def test_the_input_is_left_alone() -> None:
    asked = vectors(0, 4, 3)
    before = asked.copy()
    cosine_nearest(asked, asked)
    csls(asked, asked)
    assert (asked == before).all()


def test_no_queries_find_nothing() -> None:
    assert cosine_nearest(np.zeros((0, 3)), np.ones((2, 3))).tolist() == []
    assert csls(np.zeros((0, 3)), np.ones((2, 3))).tolist() == []


def test_precision_at_1_by_hand() -> None:
    found = [3, 1, 0, 2]
    accepted = [{3, 5}, {2}, (), [2]]
    assert translation_hits(found, accepted).tolist() == [True, False, False, True]
    assert precision_at_1(found, accepted) == 0.5
    assert retrieval_accuracy(found, [3, 1, 1, 1]) == 0.5
    assert retrieval_accuracy(np.array([0, 1, 1])) == pytest.approx(2 / 3)


def test_what_cannot_be_sought() -> None:
    good = np.ones((2, 3))
    with pytest.raises(ValueError, match=re.escape("these are (2, 3) and (2, 4)")):
        cosine_nearest(good, np.ones((2, 4)))
    with pytest.raises(ValueError, match=re.escape("these are (2, 3) and (0, 3)")):
        cosine_nearest(good, np.ones((0, 3)))
    for bad in (np.nan, np.inf, -np.inf):
        broken = good.copy()
        broken[1, 2] = bad
        with pytest.raises(ValueError, match="The vector of query 1 is not finite"):
            csls(broken, good)
        with pytest.raises(ValueError, match="The vector of target 1 is not finite"):
            cosine_nearest(good, broken)
    with pytest.raises(ValueError, match="at least one neighbour, not 0"):
        csls(good, good, neighbours=0)


def test_what_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="no queries to score"):
        retrieval_accuracy([])
    with pytest.raises(ValueError, match=re.escape("(2,) targets were found for (1,) queries")):
        retrieval_accuracy([0, 1], [0])
    with pytest.raises(ValueError, match=re.escape("(2,) targets were found for 1 words")):
        precision_at_1([0, 1], [{0}])
    with pytest.raises(ValueError, match="no queries to score"):
        precision_at_1(np.zeros(0, dtype=np.int64), [])
