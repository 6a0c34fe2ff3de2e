"""What a distillation on text can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from polycompress.training.batching import Batching
from polycompress.training.config import TrainingConfig
from polycompress.training.errors import ConfigError
from polycompress.training.masking import Masking
from polycompress.training.shares import Mixing

LEARNING_RATE: Final = 1e-4
"""As BiStil's scripts have it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextConfig:
    """A distillation on unlabelled text, whatever its objectives."""

    training: TrainingConfig
    batching: Batching = field(default_factory=lambda: Batching(token_budget=2048))
    mixing: Mixing = field(default_factory=Mixing)
    masked: bool = True
    """Whether both models see text with tokens masked, as BiStil does; otherwise the text as it is."""
    masking: Masking = field(default_factory=Masking)
    dropout: float = 0.0
    """Of the student, everywhere."""
    freeze_embeddings: bool = False
    max_length: int = 128
    """Tokens of a text at most; longer ones become several."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    device: Literal["auto", "cpu"] = "auto"

    def __post_init__(self) -> None:
        """Check the values; raises ``ConfigError`` with all faults."""
        faults = []
        if self.max_length < 4:
            faults.append(f"max_length is {self.max_length}: give at least 4")
        if not 0 <= self.dropout < 1:
            faults.append(f"dropout is {self.dropout}: give 0 or more and less than 1")
        if self.batching.token_budget < self.max_length:
            faults.append(
                f"batching.token_budget is {self.batching.token_budget}, less than one row of {self.max_length} tokens "
                "(max_length): give more, or cut the texts shorter"
            )
        if self.batching.packed_length is not None:
            faults.append("batching.packed_length is set: distillation does not pack texts into rows")
        if faults:
            raise ConfigError(faults, "TextConfig")
