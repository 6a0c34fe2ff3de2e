from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.embeddings import joint
from polycompress.embeddings.joint import Occurrences, joint_vectors, sentence_vectors, spread

SEEDS = st.integers(0, 2**32 - 1)


def _entries(random: np.random.Generator, n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Some entries, at least one in every row and column."""
    rows = np.concatenate([np.arange(n), random.integers(0, n, m), random.integers(0, n, 2 * n)])
    columns = np.concatenate([random.integers(0, m, n), np.arange(m), random.integers(0, m, 2 * n)])
    return rows, columns


def _dense(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    table = np.zeros((rows.max() + 1, columns.max() + 1))
    table[rows, columns] = 1
    return table / np.linalg.norm(table, axis=1, keepdims=True)


@given(SEEDS, st.integers(1, 12), st.integers(1, 12), st.integers(1, 300))
def test_products_are_those_of_the_dense_matrix(seed: int, n: int, m: int, block: int) -> None:
    random = np.random.default_rng(seed)
    rows, columns = _entries(random, n, m)
    right, left = (random.standard_normal((size, 3)).astype(np.float32) for size in (m, n))
    dense, before = _dense(rows, columns), joint.BLOCK_BYTES
    joint.BLOCK_BYTES = block  # type: ignore[misc]
    try:
        table = Occurrences(rows, columns)
        assert np.allclose(table.times(right), dense @ right, atol=1e-5)
        assert np.allclose(table.transposed_times(left), dense.T @ left, atol=1e-5)
    finally:
        joint.BLOCK_BYTES = before  # type: ignore[misc]


@given(SEEDS, st.integers(2, 15), st.integers(2, 15))
def test_vectors_are_those_of_the_whole_decomposition(seed: int, n: int, m: int) -> None:
    rows, columns = _entries(np.random.default_rng(seed), n, m)
    found = joint_vectors(rows, columns, 20)
    left, singular, _ = np.linalg.svd(_dense(rows, columns), full_matrices=False)
    expected = left * np.sqrt(singular)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    # Signs and bases of equal singular values are free; what vectors say of each other is not.
    assert found.shape == (n, 20)
    assert np.allclose(found @ found.T, expected @ expected.T, atol=2e-3)


def test_translations_come_out_together_and_the_seed_decides() -> None:
    random = np.random.default_rng(1)
    sentences = [random.choice(40, 5, replace=False) for _ in range(200)]
    rows = np.concatenate([np.concatenate([words, words + 40]) for words in sentences])
    columns = np.repeat(np.arange(200), 10)
    found = joint_vectors(rows, columns, 30)
    assert np.array_equal((found[:40] @ found[40:].T).argmax(axis=1), np.arange(40))
    order = random.permutation(len(rows))
    assert np.array_equal(joint_vectors(rows[order], columns[order], 30), found)


def test_a_row_without_entries_is_refused() -> None:
    with pytest.raises(ValueError, match="no entry"):
        joint_vectors(np.array([0, 2]), np.array([0, 1]), 2)
    with pytest.raises(ValueError, match="no entries"):
        joint_vectors(np.zeros(0, np.int64), np.zeros(0, np.int64), 2)


@given(SEEDS, st.integers(1, 20), st.integers(1, 20), st.integers(1, 2000))
def test_spreading_does_not_depend_on_blocks(seed: int, n: int, u: int, block: int) -> None:
    random = np.random.default_rng(seed)
    known, targets, unknown = (random.standard_normal((size, 4)).astype(np.float32) for size in (n, n, u))
    whole = spread(known, targets, unknown)
    assert np.allclose(whole, spread(known, targets, unknown, block_bytes=block), atol=1e-5)
    assert np.allclose(np.linalg.norm(whole, axis=1), 1, atol=1e-4)


def test_a_sharp_temperature_gives_the_nearest_words_vector() -> None:
    random = np.random.default_rng(0)
    known = random.standard_normal((30, 8)).astype(np.float32)
    targets = random.standard_normal((30, 5)).astype(np.float32)
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    found = spread(known, targets, known[[4, 9]] * 3, temperature=1e-4)
    assert np.allclose(found, targets[[4, 9]], atol=1e-4)


def test_sentences_are_means_of_their_words() -> None:
    found = sentence_vectors([np.array([0, 1]), np.array([], np.int64)], np.eye(2, dtype=np.float32))
    assert np.allclose(found, [[np.sqrt(0.5), np.sqrt(0.5)], [0, 0]])
