"""What objectives of answers are told wrongly, all at once."""

from __future__ import annotations

from typing import Any

import pytest

from polycompress.pipelines.distilling.loss_options import (
    ExitOptions,
    MixedClassesOptions,
    MixedHiddenOptions,
)
from polycompress.training.config import read_config
from polycompress.training.errors import ConfigError


@pytest.mark.parametrize(
    ("cls", "values", "faults"),
    [
        (ExitOptions, {}, ["exits is missing"]),
        (ExitOptions, {"exits": []}, ["exits is []: give a list"]),
        (ExitOptions, {"exits": [0, 2]}, ["exits is [0, 2]: give a list"]),
        (ExitOptions, {"exits": [True]}, ["exits is [True]: give a list"]),
        (
            ExitOptions,
            {"exits": [2, 2], "divergence_weight": -1, "temperature": 0.0, "learns": "nothing"},
            ["learns is 'nothing'"],
        ),
        (
            ExitOptions,
            {"exits": [2, 2], "divergence_weight": -1, "temperature": 0.0},
            ["exits is [2, 2]: name each once", "divergence_weight is -1.0", "temperature is 0.0"],
        ),
        (MixedHiddenOptions, {"weights": [1, "a"]}, ["weights is [1, 'a']: give a list of numbers"]),
        (MixedHiddenOptions, {"weights": [0, 0]}, ["weights is [0, 0]: one has to be above 0"]),
        (
            MixedHiddenOptions,
            {"weights": 3, "layers": [-1], "width": 0, "student_layer": -2},
            ["weights is 3", "layers is [-1]", "width is 0", "student_layer is -2"],
        ),
        (
            MixedClassesOptions,
            {"weights": [-1.0], "temperature": 0},
            ["weights is [-1.0]", "temperature is 0.0"],
        ),
    ],
)
def test_faults(cls: type, values: dict[str, Any], faults: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_config(cls, values, "test")
    for fault in faults:
        assert any(found.startswith(fault) for found in caught.value.faults), caught.value.faults


def test_what_is_right() -> None:
    assert read_config(ExitOptions, {"exits": [1, 3]}, "test").learns == "labels"
    assert read_config(MixedHiddenOptions, {"weights": [2, 0.5], "layers": [0, 3]}, "test").width is None
    assert read_config(MixedClassesOptions, {}, "test").weights is None
