"""The mean of the source's own pieces."""

from __future__ import annotations

import numpy as np
import pytest

from polycompress.embeddings.initialising.applying import apply_plan
from polycompress.embeddings.initialising.own_pieces import own_pieces
from polycompress.embeddings.initialising.plans import Rule
from tests.embeddings.initialising.materials import SHARED, SOURCE, SPECIAL, TARGET, material


def test_the_mean_of_pieces() -> None:
    pieces: list[list[int]] = [[] for _ in range(TARGET)]
    pieces[SHARED] = [20, 30, 20, 0]  # 0 is special: it does not count
    pieces[SHARED + 1] = [7]
    pieces[SHARED + 2] = [1, 2]
    pieces[SPECIAL] = [30]
    plan = own_pieces(material(source_pieces=pieces))
    table = np.random.default_rng(0).standard_normal((SOURCE, 4)).astype(np.float32)
    made = apply_plan(plan, table, seed=0)
    assert np.allclose(made[SHARED], (2 * table[20] + table[30]) / 3, atol=1e-6)
    assert np.array_equal(made[SHARED + 1], table[7])
    assert np.array_equal(made[SPECIAL], table[SPECIAL])
    assert plan.counts() == {**material().matched.counts(), "pieces": 2, "sampled": TARGET - SHARED - 2}
    assert plan.rule[SHARED + 2] == Rule.SAMPLED


def test_what_it_needs() -> None:
    with pytest.raises(ValueError, match="needs the source's pieces"):
        own_pieces(material(source_pieces=None))
    with pytest.raises(ValueError, match=f"pieces of 1 tokens for a vocabulary of {TARGET}"):
        own_pieces(material(source_pieces=[[1]]))
