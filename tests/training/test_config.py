from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from polycompress.errors import InputError
from polycompress.training.config import (
    OptimiserConfig,
    ScheduleConfig,
    SnapshotConfig,
    TrainingConfig,
    as_dict,
    differing_fields,
    read_config,
)
from polycompress.training.errors import ConfigError


def test_values_become_a_configuration() -> None:
    config = read_config(
        TrainingConfig,
        {"steps": 10, "precision": "bf16", "optimiser": {"learning_rate": 1}, "schedule": {"kind": "cosine"}},
    )
    assert config == TrainingConfig(
        steps=10,
        precision="bf16",
        optimiser=OptimiserConfig(learning_rate=1.0),
        schedule=ScheduleConfig(kind="cosine"),
    )
    assert isinstance(config.optimiser.learning_rate, float)


def test_a_configuration_survives_its_plain_values() -> None:
    config = TrainingConfig(steps=7, snapshots=SnapshotConfig(every_steps=3), seed=5)
    assert read_config(TrainingConfig, as_dict(config)) == config


def test_every_fault_is_reported_at_once_with_its_field() -> None:
    wrong: dict[str, Any] = {
        "steps": 0,
        "precision": "fp8",
        "warmup": 3,
        "seed": "one",
        "optimiser": {"learning_rate": -1.0, "beta2": 1.5, "max_grad_norm": float("nan")},
        "schedule": {"kind": "cosin", "warmup_steps": -1},
        "snapshots": {"keep_last": 0, "every_step": 4},
    }
    with pytest.raises(ConfigError) as caught:
        read_config(TrainingConfig, wrong, "The configuration of a test")
    message = str(caught.value)
    assert message.startswith("The configuration of a test is wrong in ")
    for part in (
        "precision is 'fp8': give auto, fp32 or bf16",
        "warmup is no field.",
        "seed is 'one': give a whole number",
        "optimiser.learning_rate is -1.0: give a number above 0",
        "optimiser.beta2 is 1.5: give 0 or more and less than 1",
        "optimiser.max_grad_norm is nan: give a number",
        "schedule.kind is 'cosin': give linear, cosine, constant or warmup-stable-decay. Did you mean cosine?",
        "schedule.warmup_steps is -1: give 0 or more",
        "snapshots.keep_last is 0: give at least 1",
        "snapshots.every_step is no field. Did you mean snapshots.every_steps?",
        "steps is 0: give at least 1",
    ):
        assert part in message
    assert len(caught.value.faults) == 11
    assert isinstance(caught.value, InputError)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match=r"in one place:\n  steps is missing"):
        read_config(TrainingConfig, {})
    with pytest.raises(ConfigError, match="optimiser is 3: give its fields"):
        read_config(TrainingConfig, {"steps": 1, "optimiser": 3})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nested:
    """A configuration whose own check looks at a part of it."""

    training: TrainingConfig
    size: int = 1
    least: int = 1

    def __post_init__(self) -> None:
        faults = [f"size is {self.size}: give at least 1"] if self.size < 1 else []
        if self.least > self.training.steps:
            faults.append(f"least is {self.least}: more than training.steps, {self.training.steps}")
        if self.training.steps < 1:
            faults.append("training.steps is too small")
        if faults:
            raise ConfigError(faults)


def test_own_checks_speak_where_parts_are_wrong() -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(Nested, {"training": {"steps": 0, "seed": "one"}, "size": 0})
    assert caught.value.faults == (
        "training.seed is 'one': give a whole number",
        "training.steps is 0: give at least 1",
        "size is 0: give at least 1",
        "least is 1: more than training.steps, 0",
    )


def test_a_part_that_is_missing_is_told_and_nothing_follows_from_it() -> None:
    for training in ({}, {"steps": "many"}):
        with pytest.raises(ConfigError, match=r"in one place:\n  training.steps is (missing|'many': give a)"):
            read_config(Nested, {"training": training})
    with pytest.raises(ConfigError, match=r"in one place:\n  training is missing"):
        read_config(Nested, {"size": 0})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "warmup-stable-decay"}, "decay_steps is 0: warmup-stable-decay needs some"),
        ({"decay_steps": 5}, "decay_steps is 5: only warmup-stable-decay has them, not linear"),
        ({"final_share": 1.5}, "final_share is 1.5: give 0 to 1"),
    ],
)
def test_a_schedule_has_to_make_sense(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ScheduleConfig(**values)


def test_warm_up_and_decay_have_to_fit_into_the_steps() -> None:
    schedule = ScheduleConfig(kind="warmup-stable-decay", warmup_steps=6, decay_steps=6)
    with pytest.raises(ConfigError, match="add up to 12: more than the 10 steps"):
        TrainingConfig(steps=10, schedule=schedule)


def test_a_bool_is_no_number() -> None:
    with pytest.raises(ConfigError, match="steps is True: give a whole number"):
        read_config(TrainingConfig, {"steps": True})


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainingConfig(steps=1).steps = 2  # type: ignore[misc]


def test_differing_fields_are_found_by_their_full_names() -> None:
    one = {"a": 1, "b": {"c": [1, 2], "d": None}, "e": 5}
    other = {"a": 1, "b": {"c": [1, 3], "d": None}, "f": 6}
    assert differing_fields(one, other) == {"b.c": ([1, 2], [1, 3]), "e": (5, None), "f": (None, 6)}
    assert differing_fields(one, one) == {}
