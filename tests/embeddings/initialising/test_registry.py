"""The table of ways to make rows, and what holds for all of them."""

from __future__ import annotations

import numpy as np
import pytest

from polycompress.embeddings.initialising.applying import apply_plan
from polycompress.embeddings.initialising.material import Initialiser
from polycompress.embeddings.initialising.plans import Rule
from polycompress.embeddings.initialising.registry import INITIALISERS, initialiser, plan_rows
from polycompress.errors import InputError
from tests.embeddings.initialising.materials import SHARED, SOURCE, SPECIAL, TARGET, material

ALL = pytest.mark.parametrize("way", INITIALISERS.values(), ids=list(INITIALISERS))


@ALL
def test_every_token_has_a_row_by_one_rule(way: Initialiser) -> None:
    given = material(5)
    plan = plan_rows(way, given)
    assert sum(plan.counts().values()) == TARGET
    table = np.random.default_rng(0).standard_normal((SOURCE, 4)).astype(np.float32)
    made = apply_plan(plan, table, seed=1, sampling=way.sampling)
    assert np.isfinite(made).all()
    assert np.array_equal(made[:SPECIAL], table[:SPECIAL])
    copied = plan.rule == Rule.EXACT
    assert np.array_equal(made[copied], table[plan.sources[copied, 0]])
    assert way.name == "wechsel" or copied.sum() == SHARED - SPECIAL


@ALL
def test_the_same_again(way: Initialiser) -> None:
    left, right = plan_rows(way, material(6)), plan_rows(way, material(6))
    assert np.array_equal(left.rule, right.rule)
    assert np.array_equal(left.sources, right.sources)
    assert np.array_equal(left.weights, right.weights)


@ALL
def test_what_is_missing_is_told(way: Initialiser) -> None:
    assert way.summary
    for field in way.needs:
        with pytest.raises(ValueError, match=f"{way.name} needs {field}, which the material lacks"):
            plan_rows(way, material(**{field: None}))


def test_ways_by_name() -> None:
    assert [initialiser(name).name for name in INITIALISERS] == list(INITIALISERS)
    assert initialiser("covariance").sampling == "covariance"
    with pytest.raises(
        InputError, match=r"called 'foccus'\. Did you mean focus\? There are ofa, focus, wechsel"
    ):
        initialiser("foccus")
