from __future__ import annotations

from typing import Any

import pytest

from polycompress.pipelines.experts_training.config import ExpertsConfig, RoutingConfig
from polycompress.pipelines.experts_training.settling import by_families, by_words
from polycompress.training.config import read_config
from polycompress.training.errors import ConfigError

TEXT = {"training": {"steps": 10, "accumulation": 2}}


def config(**fields: Any) -> ExpertsConfig:
    return read_config(ExpertsConfig, {"text": TEXT, **fields})


def test_forcing_falls_in_a_straight_line_or_stays() -> None:
    asked = RoutingConfig(forcing=0.8, anneal=True)
    assert [asked.forcing_at(step, 4) for step in range(5)] == pytest.approx([0.8, 0.6, 0.4, 0.2, 0.0])
    assert [RoutingConfig(forcing=0.8).forcing_at(step, 4) for step in (0, 4)] == [0.8, 0.8]
    assert RoutingConfig(routing="supervised").forcing_at(0, 4) == 0.0


def test_supervision_has_a_weight_of_its_own_where_it_is_all_there_is() -> None:
    weights = [
        RoutingConfig(routing=routing, supervision=weight).supervision_weight
        for routing, weight in (("forced", None), ("forced", 0.3), ("supervised", None), ("none", None))
    ]
    assert weights == [0.0, 0.3, 0.1, 0.0]


def test_what_is_learnt() -> None:
    assert [spec.name for spec in config().losses()] == ["hidden-mse", "attention-mse"]
    answers = config(answers_weight=2.0, temperature=4.0, hidden_weight=0.0, attention="none").losses()
    assert [(spec.name, spec.weight, spec.options) for spec in answers] == [
        ("unequal", 2.0, {"temperature": 4.0})
    ]


def test_settings_come_to_families_and_short_windows() -> None:
    settled = by_families(config(families_temperature=2.0), {"deu-Latn": "Germanic"}).text
    assert (settled.mixing.strategy, settled.mixing.temperature) == ("families", 2.0)
    assert settled.batching.window == 64
    assert by_families(config(reweigh={"every": 5}), {"deu-Latn": "Germanic"}).text.batching.window == 10


def test_what_is_left_where_tokens_differ() -> None:
    left = by_words(config(answers_weight=1.0))
    assert [spec.name for spec in left.losses()] == ["hidden-mse"]
    assert left.text.masked is False
    with pytest.raises(ConfigError, match="leave nothing to learn"):
        by_words(config(hidden_weight=0.0))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"routing": {"forcing": 1.5}}, r"routing\.forcing is 1\.5: give a probability"),
        ({"routing": {"supervision": -1.0}}, r"routing\.supervision is -1\.0: give 0 or more"),
        ({"routing": {"balancing": float("inf")}}, r"routing\.balancing is inf: give 0 or more"),
        ({"routing": {"idle_steps": 0}}, r"routing\.idle_steps is 0: give at least 1"),
        (
            {"routing": {"routing": "supervised", "forcing": 0.5, "anneal": True}},
            r"routing\.forcing is set, but routing is 'supervised'[^\n]*\n  routing\.anneal is set",
        ),
        ({"routing": {"routing": "none", "supervision": 0.1}}, r"supervision is 0\.1, but routing is 'none'"),
        ({"routing": {"routing": "supervised", "supervision": 0.0}}, "supervision is 0, but routing is"),
        ({"reweigh": {"every": -1}}, r"reweigh\.every is -1: give 0"),
        ({"reweigh": {"alpha": 1.0}}, r"reweigh\.alpha is 1\.0: give 0 or more and less than 1"),
        ({"reweigh": {"max_ratio": 0.0}}, r"reweigh\.max_ratio is 0\.0: give a number above 0"),
        ({"reweigh": {"batches": 0}}, r"reweigh\.batches is 0: give at least 1"),
        ({"families_temperature": 0.0}, r"families_temperature is 0\.0: give a number above 0"),
        ({"temperature": -1.0}, r"temperature is -1\.0: give a number above 0"),
        ({"answers_weight": -1.0}, r"answers_weight is -1\.0: give 0 or more"),
        ({"hidden_weight": 0.0, "attention": "none"}, "leave nothing to learn: raise one"),
        ({"text": {**TEXT, "parallel": "fsdp"}}, r"text\.parallel is 'fsdp': experts are trained with 'ddp'"),
    ],
)
def test_wrong_settings_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_config(ExpertsConfig, {"text": TEXT, **fields})
