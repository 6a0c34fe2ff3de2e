"""What ``bistil general`` can be told: the student's shape, what of the teacher it learns, and the text."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Literal

from polycompress.pipelines.distilling.config import TextConfig
from polycompress.pipelines.distilling.loss_specs import LossSpec
from polycompress.training.errors import ConfigError

Attention = Literal["maps", "scores", "relations", "none"]
HiddenLoss = Literal["mse", "relative", "cosine"]
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
    hidden_loss: HiddenLoss = "mse"
    """Squared errors (BiStil), each layer's as a share of its variance, or cosines."""
    vector_weight: float = 0.0
    """Of one less the cosine between both models' vectors of a text, means of their last hidden states."""
    attention_weight: float = 1.0
    attention: Attention = "maps"
    """What of attention is matched: maps after the softmax (BiStil), scores before it (TinyBERT), relations between
    queries, keys and values of the last layers (MiniLMv2), or nothing."""
    relation_heads: int = 12
    """Of relations."""
    trim: bool = True
    """Whether the vocabulary is cut to the two languages first; a model that is trimmed already needs no second cut."""
    min_share: float = MIN_SHARE

    def __post_init__(self) -> None:
        """Check the values; raises ``ConfigError`` with all faults."""
        faults = [
            f"{name} is {getattr(self, name)}: give 0 or more"
            for name in ("hidden_weight", "vector_weight", "attention_weight")
            if not 0 <= getattr(self, name) < float("inf")
        ]
        if not self.losses():
            faults.append(
                "hidden_weight, vector_weight and attention_weight leave nothing to learn: raise one"
            )
        if not 0 < self.min_share < 1:
            faults.append(f"min_share is {self.min_share}: give a share between 0 and 1, such as 1e-6")
        if self.relation_heads < 1:
            faults.append(f"relation_heads is {self.relation_heads}: give at least 1")
        if faults:
            raise ConfigError(faults, "GeneralConfig")

    def losses(self) -> tuple[LossSpec, ...]:
        """The objectives that the settings name."""
        maps = {"normalised": self.attention == "maps"}
        relations = {"relation_heads": self.relation_heads}
        attention = {
            "relations": LossSpec(name="minilmv2", weight=self.attention_weight, options=relations),
            "none": LossSpec(name="attention-mse", weight=0.0),
        }
        asked = (
            LossSpec(name=f"hidden-{self.hidden_loss}", weight=self.hidden_weight),
            LossSpec(name="sentence-vectors", weight=self.vector_weight, options={"distance": "cosine"}),
            attention.get(
                self.attention, LossSpec(name="attention-mse", weight=self.attention_weight, options=maps)
            ),
        )
        return tuple(spec for spec in asked if spec.weight)


def layers_asked(shape: Shape) -> int:
    """Of a student that is made."""
    return shape.layers if shape.layers is not None else len(shape.layer_map) or LAYERS


def by_words(config: GeneralConfig) -> GeneralConfig:
    """What is left of settings where both models are shown tokens of their own.

    Raises:
        ConfigError: Nothing to learn is.
    """
    return replace(config, text=replace(config.text, masked=False), attention="none")
