"""How a model is judged: what is the same for every task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from polycompress.training.config import read_config
from polycompress.training.errors import ConfigError

RESAMPLES: Final = 1000
"""Of the bootstrap."""
MAX_LENGTH: Final = 1 << 20
"""Tokens of a row at most."""
_SUBJECT: Final = "The configuration of eval"


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSettings:
    """What decides a score besides the model and the examples."""

    max_length: int | None = None
    """Tokens of a row; longer texts are cut, words and contexts read through windows. None: by kind of task."""
    batch_tokens: int = 4096
    """Tokens of a batch, padding included."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the computation; ``auto``: bf16 where the device is fast in it."""
    device: Literal["auto", "cpu"] = "auto"
    prompt: str | None = None
    """Before each text that is embedded; None: the one that the model's directory names."""
    seed: int = 0
    """Of the bootstrap."""

    def __post_init__(self) -> None:
        """Check the values; raises ``ConfigError`` with all faults."""
        faults = [
            f"{name} is {value}: give at least {least}"
            for name, value, least in (
                ("max_length", self.max_length, 16),
                ("batch_tokens", self.batch_tokens, 16),
                ("seed", self.seed, 0),
            )
            if value is not None and value < least
        ]
        if self.max_length is not None and self.max_length > MAX_LENGTH:
            faults.append(f"max_length is {self.max_length}: give at most {MAX_LENGTH}")
        if faults:
            raise ConfigError(faults, _SUBJECT)

    def as_dict(self) -> dict[str, Any]:
        """For a result file."""
        return {**asdict(self), "resamples": RESAMPLES}


def read_settings(values: Mapping[str, Any]) -> EvaluationSettings:
    """Settings from plain values.

    Raises:
        ConfigError: With every unknown field and wrong value.
    """
    return read_config(EvaluationSettings, values, _SUBJECT)
