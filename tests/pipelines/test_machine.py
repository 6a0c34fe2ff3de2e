"""What a run finds on this machine."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from polycompress.errors import MissingExtraError
from polycompress.pipelines.distilling.config import TextConfig
from polycompress.pipelines.tuning.machine import check_packages, with_precision
from polycompress.training.config import TrainingConfig


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("accelerate", r"distillation needs .*polycompress\[train\]"),
        ("torch.utils.tensorboard", r"--tensorboard needs .*polycompress\[tensorboard\]"),
    ],
)
def test_a_missing_package_is_told(package: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_packages("distillation")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=message):
        check_packages("distillation", tensorboard=True)


def test_auto_becomes_a_precision_and_nothing_else_changes() -> None:
    asked = TextConfig(training=TrainingConfig(steps=3, precision="auto"), device="cpu")
    got = with_precision(asked)
    assert got.training.precision in ("fp32", "bf16")
    assert replace(got, training=replace(got.training, precision="auto")) == asked
    assert with_precision(got) == got
