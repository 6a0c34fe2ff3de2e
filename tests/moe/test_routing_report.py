from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from polycompress.errors import InputError
from polycompress.moe.config import MoeConfig
from polycompress.moe.routing_report import RoutingReport, by_family, homes_of, read_shares, report_routing
from polycompress.moe.statistics import count_routing

MOE = MoeConfig(
    layers=(1, 3),
    experts=3,
    top_k=1,
    families={"Romance": (1,), "Germanic": (0,), "Bantu": (2, 1)},
    languages={"deu-Latn": "Germanic", "nld-Latn": "Germanic", "fra-Latn": "Romance", "swh-Latn": "Bantu"},
)
CODES = ("swh-Latn", "deu-Latn", "nld-Latn")
CERTAIN = np.eye(3)


def report(choices: dict[int, list[int]]) -> RoutingReport:
    """Of two tokens of each language and a router that is always sure; choices are by layer."""
    languages = by_family(MOE, CODES)
    numbers = np.repeat(np.arange(3), 2)
    homes = homes_of(MOE, list(languages))
    counts = {
        layer: count_routing(CERTAIN[own], np.array(own)[:, None], numbers, homes)
        for layer, own in choices.items()
    }
    return report_routing(MOE, languages, counts)


def test_languages_stand_family_by_family() -> None:
    assert by_family(MOE, CODES) == {"deu-Latn": "Germanic", "nld-Latn": "Germanic", "swh-Latn": "Bantu"}
    assert homes_of(MOE, ["swh-Latn", "deu-Latn", "tur-Latn"]).tolist() == [
        [False, True, True],
        [True, False, False],
        [False, False, False],
    ]


def test_a_report_by_hand() -> None:
    found = report({3: [0, 0, 0, 1, 2, 2], 1: [0, 1, 0, 1, 0, 1]})
    assert list(found.layers) == [1, 3]
    last = found.as_dict()["layers"]["3"]
    assert last["languages"]["nld-Latn"] == {
        "tokens": 2,
        "shares": [0.5, 0.5, 0.0],
        "probabilities": [0.5, 0.5, 0.0],
        "families": {"Romance": 0.5, "Germanic": 0.5, "Bantu": 0.5},
        "own_family": 0.5,
        "entropy": 1.0,
        "uncertainty": 0.0,
    }
    assert last["languages"]["swh-Latn"]["own_family"] == 1.0
    assert last["overlap"] == [[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]]
    assert found.mean_overlap == pytest.approx({1: 1.0, 3: 1 / 6})


def test_one_language_overlaps_with_none() -> None:
    languages = by_family(MOE, ["deu-Latn"])
    seen = count_routing(CERTAIN[[0]], np.array([[0]]), np.array([0]), homes_of(MOE, ["deu-Latn"]))
    assert report_routing(MOE, languages, {3: seen}).mean_overlap == {}


def test_drift_from_a_report_that_was_written() -> None:
    before = report({1: [0, 1, 0, 1, 0, 1], 3: [0, 0, 1, 1, 2, 2]})
    after = report({3: [0, 0, 0, 1, 1, 1]})
    older = read_shares(json.loads(json.dumps(before.as_dict())), 3, "start.json")
    assert after.drift(older) == {3: {"deu-Latn": 0.0, "nld-Latn": 0.5, "swh-Latn": 1.0}}
    assert set(before.drift(read_shares(after.as_dict(), 3, "start.json"))) == {3}


def changed(**fields: Any) -> Any:
    value = report({3: [0, 0, 0, 1, 2, 2]}).as_dict()
    value["layers"]["3"]["languages"]["deu-Latn"] |= fields
    return value


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"experts": 3},
        {"experts": 3, "layers": []},
        {"experts": 3, "layers": {}},
        {"experts": float("inf"), "layers": {}},
        {"experts": 3, "layers": {"one": {"languages": {}}}},
        {"experts": 3, "layers": {"1": {"languages": [1]}}},
        changed(shares=[1.0, 0.0]),
        changed(shares=[2.0, 0.0, 0.0]),
        changed(shares=[2.0, -1.0, 0.0]),
        changed(shares=[float("nan"), 0.0, 1.0]),
        changed(shares="abc"),
        changed(shares=None),
    ],
)
def test_what_is_no_report_is_refused(value: Any) -> None:
    with pytest.raises(
        InputError, match=r"old\.json: is no report of routing. Give a file that `polycompress moe"
    ):
        read_shares(value, 3, "old.json")


def test_a_report_of_other_experts_is_refused() -> None:
    with pytest.raises(InputError, match=r"old\.json: is of 3 experts, but the model has 4"):
        read_shares(report({3: [0, 0, 0, 1, 2, 2]}).as_dict(), 4, "old.json")
