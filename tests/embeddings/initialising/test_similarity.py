"""OFA's averages and WECHSEL's, against the equations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polycompress.embeddings.initialising.applying import apply_plan
from polycompress.embeddings.initialising.material import Material, Space
from polycompress.embeddings.initialising.plans import RowsPlan, Rule
from polycompress.embeddings.initialising.similarity import ofa, wechsel
from tests.embeddings.initialising.materials import SHARED, SOURCE, SPECIAL, TARGET, cosines, material


def expected(given: Material, token: int) -> dict[int, float]:
    """The equation: softmax of the k largest positive cosines among covered source tokens of text."""
    assert given.source is not None
    assert given.target is not None
    own = cosines(given.target.vectors[[token]], given.source.vectors)[0]
    near = [
        (-own[s], s) for s in range(SOURCE) if given.source.covered[s] and given.textual[s] and own[s] > 1e-6
    ]
    near = sorted(near)[: given.neighbours]
    raw = {s: np.exp((-c + near[0][0]) / given.temperature) for c, s in near}
    return {s: float(value / sum(raw.values())) for s, value in raw.items()}


def row(plan: RowsPlan, token: int) -> dict[int, float]:
    there = plan.sources[token] >= 0
    return dict(zip(plan.sources[token][there].tolist(), plan.weights[token][there].tolist(), strict=True))


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 12), temperature=st.sampled_from([0.02, 0.1, 1.0]))
def test_as_by_the_equation(seed: int, k: int, temperature: float) -> None:
    given_ = material(seed, neighbours=k, temperature=temperature)
    assert given_.target is not None
    for way, first in ((ofa, SHARED), (wechsel, SPECIAL)):
        plan = way(given_)
        for token in range(TARGET):
            wanted = expected(given_, token) if given_.target.covered[token] and token >= first else {}
            if wanted:
                assert plan.rule[token] == Rule.AVERAGED
                assert row(plan, token) == pytest.approx(wanted, abs=1e-5)
            else:
                assert plan.rule[token] == given_.matched.rule[token]
        assert sum(plan.counts().values()) == TARGET
        assert plan.sources.shape[1] <= max(k, 1)


def test_uncovered_and_special_source_tokens_are_no_neighbours() -> None:
    given_ = material(1)
    assert given_.source is not None
    # Uncovered rows that would be the best of all, were they looked at.
    assert given_.target is not None
    vectors = given_.source.vectors.copy()
    hidden = np.flatnonzero(~given_.source.covered)
    vectors[hidden] = given_.target.vectors[SHARED]
    vectors[:SPECIAL] = given_.target.vectors[SHARED + 1]
    covered = given_.source.covered.copy()
    covered[:SPECIAL] = True
    plan = ofa(dataclasses.replace(given_, source=Space(vectors=vectors, covered=covered)))
    used = plan.sources[plan.rule == Rule.AVERAGED]
    assert len(used)
    assert not np.isin(used, [*hidden, *range(SPECIAL)]).any()


def test_a_token_without_a_positive_cosine_is_drawn() -> None:
    source = Space(
        vectors=np.tile([[1.0, 0.0]], (SOURCE, 1)).astype(np.float32), covered=np.ones(SOURCE, dtype=bool)
    )
    vectors = np.tile([[0.0, 1.0]], (TARGET, 1)).astype(np.float32)
    vectors[SHARED] = [1, 0]
    vectors[SHARED + 1] = [-1, 0]
    target = Space(vectors=vectors, covered=np.ones(TARGET, dtype=bool))
    plan = ofa(material(source=source, target=target))
    assert plan.rule[SHARED] == Rule.AVERAGED
    assert row(plan, SHARED) == {SPECIAL + n: pytest.approx(0.1) for n in range(10)}
    assert (plan.rule[SHARED + 1 :] == Rule.SAMPLED).all()


def test_temperatures_at_the_ends() -> None:
    table = np.random.default_rng(9).standard_normal((SOURCE, 5))
    base = material(2, neighbours=4)
    nearest, one = (
        ofa(dataclasses.replace(base, temperature=1e-9)),
        ofa(dataclasses.replace(base, neighbours=1)),
    )
    averaged = one.rule == Rule.AVERAGED
    assert averaged.sum() > 10
    assert np.allclose(
        apply_plan(nearest, table, seed=0)[averaged], apply_plan(one, table, seed=0)[averaged], rtol=1e-12
    )
    assert (one.weights[averaged, 0] == 1).all()
    mean = ofa(dataclasses.replace(base, temperature=1e9))
    made = apply_plan(mean, table, seed=0)
    for token in np.flatnonzero(averaged):
        own = mean.sources[token][mean.sources[token] >= 0]
        assert np.allclose(made[token], table[own].mean(axis=0), atol=1e-6)


def test_copies_are_the_sources_rows() -> None:
    table = np.random.default_rng(9).standard_normal((SOURCE, 5)).astype(np.float32)
    made = apply_plan(ofa(material(3)), table, seed=0)
    assert np.array_equal(made[:SHARED], table[:SHARED])


def test_tokens_in_another_order_get_the_same_rows() -> None:
    given_ = material(4)
    assert given_.target is not None
    order = np.random.default_rng(1).permutation(TARGET)
    matched = given_.matched
    other = dataclasses.replace(
        given_,
        matched=dataclasses.replace(
            matched, rule=matched.rule[order], sources=matched.sources[order], weights=matched.weights[order]
        ),
        target=Space(vectors=given_.target.vectors[order], covered=given_.target.covered[order]),
    )
    left, right = ofa(given_), ofa(other)
    assert np.array_equal(left.sources[order], right.sources)
    assert np.array_equal(left.weights[order], right.weights)


def test_spaces_must_fit() -> None:
    narrow = Space(vectors=np.ones((TARGET, 5), dtype=np.float32), covered=np.ones(TARGET, dtype=bool))
    with pytest.raises(ValueError, match="source vectors have 6 values, target vectors 5"):
        ofa(material(target=narrow))
    with pytest.raises(ValueError, match="need vectors of source and target"):
        ofa(material(source=None))


def test_nothing_covered_is_the_matched_plan() -> None:
    none = Space(vectors=np.zeros((SOURCE, 6), dtype=np.float32), covered=np.zeros(SOURCE, dtype=bool))
    given_ = material(source=none)
    assert ofa(given_).counts() == given_.matched.counts()
