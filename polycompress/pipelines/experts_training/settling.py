"""What the settings of the training of experts come to, once models and text are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from polycompress.pipelines.experts_training.config import ExpertsConfig
from polycompress.training.shares import Mixing


def by_words(config: ExpertsConfig) -> ExpertsConfig:
    """What is left of settings where both models are shown tokens of their own.

    Raises:
        ConfigError: Nothing to learn is.
    """
    return replace(config, text=replace(config.text, masked=False), attention="none", answers_weight=0.0)


def by_families(config: ExpertsConfig, families: Mapping[str, str]) -> ExpertsConfig:
    """Settings with the families' shares, in windows that end soon after shares change.

    Args:
        config: As it was asked for.
        families: Of each language that there is text of.
    """
    text = config.text
    mixing = Mixing(strategy="families", temperature=config.families_temperature, families=families)
    window = text.batching.window
    if config.reweigh.every:  # batches of a window are drawn together, so new shares wait for the next one
        window = min(window, config.reweigh.every * text.training.accumulation)
    return replace(config, text=replace(text, mixing=mixing, batching=replace(text.batching, window=window)))
