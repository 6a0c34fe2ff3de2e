from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.embeddings.alignment import (
    mean_similarity,
    mutual_pairs,
    nearest,
    normalised,
    procrustes,
    refine,
)
from polycompress.embeddings.precision import accepted_places, precision_at_1

SEEDS = st.integers(0, 2**32 - 1)


def _rotation(random: np.random.Generator, width: int) -> np.ndarray:
    return np.linalg.qr(random.standard_normal((width, width)))[0].astype(np.float32)


def _rows(random: np.random.Generator, n: int, width: int) -> np.ndarray:
    return normalised(random.standard_normal((n, width)).astype(np.float32))


@given(SEEDS, st.integers(1, 12), st.integers(1, 30))
def test_the_map_is_orthogonal(seed: int, width: int, n: int) -> None:
    random = np.random.default_rng(seed)
    found = procrustes(*random.standard_normal((2, n, width)).astype(np.float32))
    assert np.allclose(found @ found.T, np.eye(width), atol=1e-5)


@given(SEEDS, st.integers(1, 12))
def test_a_rotation_is_recovered_whatever_the_order_of_rows(seed: int, width: int) -> None:
    random = np.random.default_rng(seed)
    x, turn = random.standard_normal((4 * width, width)).astype(np.float32), _rotation(random, width)
    order = random.permutation(len(x))
    assert np.allclose(procrustes(x, x @ turn), turn, atol=1e-4)
    assert np.allclose(procrustes(x[order], (x @ turn)[order]), turn, atol=1e-4)


@given(SEEDS)
def test_no_other_rotation_fits_better(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, y = random.standard_normal((2, 20, 5)).astype(np.float32)
    best = np.linalg.norm(x @ procrustes(x, y) - y)
    assert best <= np.linalg.norm(x @ _rotation(random, 5) - y) + 1e-4


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be brought"):
        procrustes(np.zeros((2, 3), np.float32), np.zeros((3, 3), np.float32))
    with pytest.raises(ValueError, match="not finite"):
        procrustes(np.full((2, 3), np.nan, np.float32), np.ones((2, 3), np.float32))


@given(SEEDS, st.integers(1, 20), st.integers(1, 20), st.integers(1, 4000))
def test_neighbours_do_not_depend_on_the_size_of_blocks(seed: int, n: int, m: int, block: int) -> None:
    random = np.random.default_rng(seed)
    # Multiples of 1/8 multiply exactly, whatever the order of additions.
    x, y = (random.integers(-8, 9, (rows, 4)).astype(np.float32) / 8 for rows in (n, m))
    whole, parts = nearest(x, y), nearest(x, y, block_bytes=block)
    for one, other in zip(whole, parts, strict=True):
        assert np.array_equal(one, other)


@given(SEEDS, st.integers(2, 15), st.integers(1, 15), st.integers(1, 20))
def test_csls_is_its_formula(seed: int, n: int, m: int, neighbours: int) -> None:
    random = np.random.default_rng(seed)
    x, y = _rows(random, n, 6), _rows(random, m, 6)
    cosines = x.astype(np.float64) @ y.T.astype(np.float64)
    to_sources = np.sort(cosines, axis=0)[-neighbours:].mean(axis=0)
    to_targets = np.sort(cosines, axis=1)[:, -neighbours:].mean(axis=1)
    scores = 2 * cosines - to_sources[None] - to_targets[:, None]
    plain, scaled, similarity = nearest(x, y, neighbours=neighbours)
    rows = np.arange(n)
    assert np.allclose(scores[rows, scaled], scores.max(axis=1), atol=1e-5)
    assert np.allclose(cosines[rows, plain], cosines.max(axis=1), atol=1e-5)
    assert np.allclose(similarity, cosines[rows, scaled], atol=1e-5)
    assert np.allclose(mean_similarity(y, x, neighbours), to_sources, atol=1e-5)


def test_csls_passes_over_a_target_that_is_near_to_everything() -> None:
    x = np.array([[10, 6, 0], [6, 10, 0], [6, 0, 10], [0, 6, 10]], np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    hub = normalised(x.mean(axis=0, keepdims=True), np.zeros(3, np.float32))
    own = np.array([[1, -0.25, 0]], np.float32) / np.float32(np.sqrt(1.0625))
    plain, scaled, _ = nearest(x, np.concatenate([hub, own]), neighbours=4)
    assert plain[0] == 0
    assert scaled[0] == 1


@given(SEEDS)
def test_mutual_pairs_are_each_others_nearest(seed: int) -> None:
    random = np.random.default_rng(seed)
    x = _rows(random, 12, 8)
    order = random.permutation(12)
    pairs, cosines = mutual_pairs(x, x[order])
    assert np.array_equal(pairs[:, 0], order[pairs[:, 1]])
    assert len(pairs) == 12
    assert np.allclose(cosines, 1, atol=1e-5)


def test_refinement_finds_a_rotation_from_a_poor_start() -> None:
    random = np.random.default_rng(3)
    x, turn = _rows(random, 300, 20), _rotation(random, 20)
    y = normalised(x @ turn + 0.02 * random.standard_normal(x.shape).astype(np.float32))
    start = procrustes(x[:14], y[:14])
    found = refine(x, y, start)
    assert np.linalg.norm(found.rotation - turn) < 0.3 * np.linalg.norm(start - turn)
    assert list(found.cosines) == sorted(found.cosines)
    assert found.induced > 250


def test_refinement_keeps_what_it_cannot_better() -> None:
    random = np.random.default_rng(0)
    x, turn = _rows(random, 60, 6), _rotation(random, 6)
    found = refine(x, x @ turn, turn, rounds=4)
    assert np.allclose(found.rotation, turn, atol=1e-4)
    few = refine(x[:3], (x @ turn)[:3], turn)
    assert (few.induced, few.rotation is turn) == (0, True)


def test_rows_are_centred_and_of_length_one_and_zeros_stay_finite() -> None:
    rows = normalised(np.array([[3, 0], [0, 2], [0, 0]], np.float32))
    assert np.allclose(np.linalg.norm(rows, axis=1), 1)
    assert np.array_equal(normalised(np.zeros((2, 2), np.float32)), np.zeros((2, 2), np.float32))


def test_precision_counts_words_that_have_vectors_and_any_of_their_translations() -> None:
    words, goals = {"a": 0, "b": 1, "c": 2}, {"x": 0, "y": 1, "z": 2}
    pairs = [("a", "x"), ("a", "z"), ("b", "y"), ("c", "none"), ("none", "x")]
    accepted, of = accepted_places(pairs, words, goals)
    assert (accepted, of) == ({0: {0, 2}, 1: {1}}, 4)
    vectors = np.eye(3, dtype=np.float32)
    found = precision_at_1(vectors, vectors[[1, 2, 0]], accepted, of=of)
    assert (found.cosine, found.words, found.of) == (0.5, 2, 4)
    assert precision_at_1(vectors, vectors, {}, of=7).words == 0
