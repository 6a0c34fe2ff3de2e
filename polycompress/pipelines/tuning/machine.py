"""What a run finds on this machine: the packages that it needs, and the precision that ``auto`` means."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from polycompress.errors import MissingExtraError

if TYPE_CHECKING:
    from polycompress.pipelines.distilling.config import TextConfig
    from polycompress.pipelines.mlm import MlmConfig

_PACKAGES: Final = ("torch", "transformers", "accelerate")
Config = TypeVar("Config", "TextConfig", "MlmConfig")


def check_packages(feature: str, *, tensorboard: bool = False) -> None:
    """Refuse what cannot be done before anything is read.

    Args:
        feature: What needs them, for the message.
        tensorboard: Whether event files are wanted.

    Raises:
        MissingExtraError: A package is missing.
    """
    wanted = [(feature, package, "train") for package in _PACKAGES]
    wanted += [("--tensorboard", "torch.utils.tensorboard", "tensorboard")] if tensorboard else []
    for asking, package, extra in wanted:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingExtraError(asking, extra) from error


def with_precision(config: Config) -> Config:
    """The same with the precision that ``auto`` means on this machine, so that the run's record says it."""
    from polycompress.evaluation.precision import choose_device, choose_precision

    precision = choose_precision(config.training.precision, choose_device(config.device))
    return replace(config, training=replace(config.training, precision=precision))
