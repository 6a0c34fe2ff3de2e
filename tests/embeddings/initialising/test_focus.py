"""FOCUS: sparse combinations of overlapping tokens."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polycompress.embeddings.initialising import focus as module
from polycompress.embeddings.initialising.focus import focus
from polycompress.embeddings.initialising.material import Space
from polycompress.embeddings.initialising.plans import RowsPlan, Rule
from tests.embeddings.initialising.materials import SHARED, SPECIAL, TARGET, cosines, material


def sparsemax_by_bisection(values: np.ndarray) -> np.ndarray:
    low, high = values.min() - 1, values.max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(values - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(values - low, 0)


def row(plan: RowsPlan, token: int) -> dict[int, float]:
    there = plan.sources[token] >= 0
    return dict(zip(plan.sources[token][there].tolist(), plan.weights[token][there].tolist(), strict=True))


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), width=st.sampled_from([1, 2, 64]))
def test_as_by_the_equation(seed: int, width: int) -> None:
    given_ = material(seed)
    space = given_.auxiliary
    assert space is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "FIRST_WIDTH", width)  # so that more neighbours must be looked at
        plan = focus(given_)
    anchors = [token for token in range(SPECIAL, SHARED) if space.covered[token]]
    for token in range(TARGET):
        own = cosines(space.vectors[[token]], space.vectors[anchors])[0] if anchors else np.zeros(0)
        if token < SHARED or not space.covered[token] or not (own > 1e-5).any():
            assert plan.rule[token] == given_.matched.rule[token]
            continue
        weights = sparsemax_by_bisection(own[own > 1e-5])
        near = [anchor for anchor, cosine in zip(anchors, own, strict=True) if cosine > 1e-5]
        wanted = {a: w for a, w in zip(near, weights, strict=True) if w > 1e-5}
        found = {source: w for source, w in row(plan, token).items() if w > 1e-5}
        assert plan.rule[token] == Rule.AVERAGED
        # Where the positive cosines sum to less than 1, those below 0, which are not looked at, would get weight too.
        if own[own > 1e-5].sum() > 1:
            assert found == pytest.approx(wanted, abs=1e-4)
        assert sum(row(plan, token).values()) == pytest.approx(1)


def test_one_that_is_alike_takes_all() -> None:
    vectors = np.eye(TARGET, dtype=np.float32)
    vectors[SHARED] = vectors[SPECIAL + 2]
    vectors[SHARED + 1] = vectors[0]  # only like a special token, which is no anchor
    plan = focus(material(auxiliary=Space(vectors=vectors, covered=np.ones(TARGET, dtype=bool))))
    assert row(plan, SHARED) == {SPECIAL + 2: 1.0}
    assert plan.rule[SHARED + 1] == Rule.SAMPLED


def test_what_it_needs() -> None:
    with pytest.raises(ValueError, match="FOCUS needs vectors of target tokens"):
        focus(material(auxiliary=None))


def test_no_anchors_is_the_matched_plan() -> None:
    given_ = material()
    assert given_.auxiliary is not None
    covered = given_.auxiliary.covered & (np.arange(TARGET) >= SHARED)
    space = dataclasses.replace(given_.auxiliary, covered=covered)
    assert focus(dataclasses.replace(given_, auxiliary=space)).counts() == given_.matched.counts()
