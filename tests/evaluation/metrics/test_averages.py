"""Averages by hand: every language once, what is missing shown, seeds that learnt nothing counted."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.evaluation.metrics import average_scores, over_seeds
from polycompress.evaluation.metrics.averages import GroupMean, resource_level
from polycompress.evaluation.records import Part
from polycompress.languages import all_languages, find_language

GERMAN, ENGLISH, SWAHILI, RUSSIAN = (Part(find_language(name).code) for name in ("de", "en", "sw", "ru"))
FON = Part(find_language("fon").code)
CODES = [language.code for language in all_languages()]
FLOATS = st.floats(0, 1)


def test_groups_by_hand() -> None:
    averages = average_scores({ENGLISH: 0.9, GERMAN: 0.8, RUSSIAN: 0.7, SWAHILI: 0.4}, trained={"eng-Latn"})
    assert averages.all.mean == pytest.approx(0.7)
    assert averages.all.languages == 4
    assert averages.zero_shot.mean == pytest.approx(1.9 / 3)
    assert averages.missing == ()
    assert list(averages.family) == ["Atlantic-Congo", "Indo-European"]
    assert averages.family["Indo-European"].mean == pytest.approx(0.8)
    assert {name: group.languages for name, group in averages.script.items()} == {"Cyrl": 1, "Latn": 3}
    assert averages.script["Latn"].mean == pytest.approx(0.7)
    assert {name: group.mean for name, group in averages.resource.items()} == {
        "high": pytest.approx(0.8),
        "middle": 0.4,
    }


def test_what_is_missing_is_shown_and_not_averaged() -> None:
    averages = average_scores({GERMAN: 0.8, RUSSIAN: None}, expected=[GERMAN, SWAHILI, FON])
    assert averages.missing == (FON, RUSSIAN, SWAHILI)
    assert averages.all == GroupMean(mean=0.8, languages=1, missing=(FON, RUSSIAN, SWAHILI))
    assert averages.script["Cyrl"] == GroupMean(mean=None, languages=0, missing=(RUSSIAN,))
    assert averages.script["Latn"] == GroupMean(mean=0.8, languages=1, missing=(FON, SWAHILI))
    assert averages.resource["low"] == GroupMean(mean=None, languages=0, missing=(FON,))


def test_a_language_with_several_test_sets_counts_once() -> None:
    ewt, pud = (dataclasses.replace(ENGLISH, subset=subset) for subset in ("ewt", "pud"))
    averages = average_scores({ewt: 1.0, pud: 0.5, GERMAN: 0.25})
    assert averages.all.mean == pytest.approx(0.5)
    assert averages.all.languages == 2
    # one of the two is missing: the other stands for the language, and the gap is shown
    averages = average_scores({ewt: 1.0, pud: None, GERMAN: 0.25})
    assert averages.all == GroupMean(mean=0.625, languages=2, missing=(pud,))


def test_as_json() -> None:
    pud = dataclasses.replace(ENGLISH, subset="pud")
    shown = average_scores({GERMAN: 0.5, pud: None}, trained=["eng-Latn"]).as_dict()
    assert list(shown) == ["all", "zero-shot", "family", "script", "resource", "missing"]
    assert shown["missing"] == ["eng-Latn/pud"]
    assert shown["all"] == {"mean": 0.5, "languages": 1, "missing": ["eng-Latn/pud"]}
    assert shown["zero-shot"] == {"mean": 0.5, "languages": 1, "missing": []}
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown


@given(st.dictionaries(st.sampled_from(CODES), st.none() | FLOATS, max_size=20))
def test_groups_are_the_whole(scores: dict[str, float | None]) -> None:
    averages = average_scores({Part(code): score for code, score in scores.items()})
    there = [score for score in scores.values() if score is not None]
    assert averages.all.mean == (pytest.approx(np.mean(there)) if there else None)
    for groups in (averages.family, averages.script, averages.resource):
        assert sum(group.languages for group in groups.values()) == len(there)
        total = sum(group.mean * group.languages for group in groups.values() if group.mean is not None)
        assert total == pytest.approx(sum(there))
        assert sorted(part for group in groups.values() for part in group.missing) == sorted(averages.missing)
    assert {part.language for part in averages.missing} == {code for code in scores if scores[code] is None}


def test_resource_levels() -> None:
    levels = {
        name: resource_level(find_language(name)) for name in ("de", "zh", "sw", "yo", "fon", "quy", "cnr")
    }
    assert levels == {
        "de": "high", "zh": "high", "sw": "middle", "yo": "middle", "fon": "low", "quy": "low", "cnr": "low",
    }  # fmt: skip


def test_what_cannot_be_averaged() -> None:
    with pytest.raises(InputError, match="'de' is no code of the language registry"):
        average_scores({Part("de"): 0.5})
    with pytest.raises(InputError, match="'eng-Latn' is no code"):
        average_scores({ENGLISH: 0.5}, [find_language("de")])
    with pytest.raises(ValueError, match="The score of deu-Latn is nan"):
        average_scores({GERMAN: math.nan})


def test_seeds_by_hand() -> None:
    summary = over_seeds([0.7, 0.6, 0.34], chance=1 / 3)
    assert summary.mean == pytest.approx(1.64 / 3)
    assert summary.spread == pytest.approx(np.sqrt(sum((x - 1.64 / 3) ** 2 for x in (0.7, 0.6, 0.34)) / 2))
    assert (summary.minimum, summary.maximum, summary.seeds) == (0.34, 0.7, 3)
    assert summary.collapsed == pytest.approx(1 / 3)
    assert list(summary.as_dict()) == ["mean", "spread", "minimum", "maximum", "seeds", "collapsed"]


def test_one_seed_has_no_spread_and_unknown_chance_no_collapse() -> None:
    summary = over_seeds([0.5])
    assert (summary.mean, summary.spread, summary.collapsed) == (0.5, None, None)


@pytest.mark.parametrize(("score", "collapsed"), [(0.0, 1.0), (0.353, 1.0), (0.354, 0.0), (0.9, 0.0)])
def test_where_collapse_ends(score: float, collapsed: float) -> None:
    assert over_seeds([score, score], chance=1 / 3).collapsed == collapsed


@given(st.lists(FLOATS, min_size=1, max_size=8), FLOATS)
def test_summaries_are_in_order(values: list[float], chance: float) -> None:
    summary = over_seeds(values, chance=chance)
    assert summary.minimum <= summary.mean + 1e-12 <= summary.maximum + 2e-12
    assert summary.collapsed is not None
    assert 0 <= summary.collapsed <= 1
    assert (summary.spread is None) == (len(values) == 1)


@pytest.mark.parametrize("values", [[], [0.5, math.nan], [math.inf]])
def test_seeds_need_scores(values: list[float]) -> None:
    with pytest.raises(ValueError, match="needs finite scores, not"):
        over_seeds(values)
