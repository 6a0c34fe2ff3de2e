"""What ``bistil general`` can be told: the student's shape, what of the teacher it learns, and the text."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Literal

from polycompress.pipelines.distilling.config import TextConfig
from polycompress.pipelines.distilling.loss_specs import LossSpec
from polycompress.pipelines.distilling.text_losses import Attention, HiddenLoss, text_losses, weight_faults
from polycompress.training.errors import ConfigError

MIN_SHARE: Final = 1e-6
"""Relative frequency from which on a token is kept; BiStil's."""
LAYERS: Final = 6
"""Of a student that is made, where nothing else is asked for."""
LEFT_OUT: Final = (
    "its tokenizer is not the teacher's, so each model is shown its own tokens of the text, and hidden states are "
    "compared word by word; attention, which is between tokens, is left out, and so is masking"
)
"""What a student with tokens of its own does not learn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The student's shape."""

    layers: int | None = None
    """None: as many as ``layer_map`` names, or six."""
    layer_map: tuple[int, ...] = ()
    """Layers of the teacher, named one by one, instead of ``strategy``."""
    strategy: Literal["every-nth", "bottom"] = "every-nth"
    hidden_size: int | None = None
    """Of hidden states; None: the teacher's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneralConfig:
    """Everything that phase 1 can be told besides the model, the languages and their text."""

    text: TextConfig
    shape: Shape = field(default_factory=Shape)
    hidden_weight: float = 1.0
    """This and the next five: see ``Learning``."""
    hidden_loss: HiddenLoss = "mse"
    vector_weight: float = 0.0
    attention_weight: float = 1.0
    attention: Attention = "maps"
    relation_heads: int = 12
    trim: bool = True
    """Whether the vocabulary is cut to the two languages first; a model that is trimmed already needs no second cut."""
    min_share: float = MIN_SHARE

    def __post_init__(self) -> None:
        """Check the values; raises ``ConfigError`` with all faults."""
        faults = weight_faults(self)
        if not self.losses():
            faults.append(
                "hidden_weight, vector_weight and attention_weight leave nothing to learn: raise one"
            )
        if not 0 < self.min_share < 1:
            faults.append(f"min_share is {self.min_share}: give a share between 0 and 1, such as 1e-6")
        if faults:
            raise ConfigError(faults, "GeneralConfig")

    def losses(self) -> tuple[LossSpec, ...]:
        """The objectives that the settings name."""
        return text_losses(self)


def layers_asked(shape: Shape) -> int:
    """Of a student that is made."""
    return shape.layers if shape.layers is not None else len(shape.layer_map) or LAYERS


def by_words(config: GeneralConfig) -> GeneralConfig:
    """What is left of settings where both models are shown tokens of their own.

    Raises:
        ConfigError: Nothing to learn is.
    """
    return replace(config, text=replace(config.text, masked=False), attention="none")
