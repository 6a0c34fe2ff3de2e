"""What a student learns of its teacher on text, as the commands ask for it: objectives out of a few weights."""

from __future__ import annotations

from typing import Literal, Protocol

from polycompress.pipelines.distilling.loss_specs import LossSpec

Attention = Literal["maps", "scores", "relations", "none"]
"""What of attention is matched: maps after the softmax (BiStil), scores before it (TinyBERT), relations between
queries, keys and values of the last layers (MiniLMv2), or nothing."""
HiddenLoss = Literal["mse", "relative", "cosine"]
"""Of hidden states: squared errors (BiStil), each layer's as a share of its variance, or cosines."""


class Learning(Protocol):
    """Settings that say what is learnt."""

    @property
    def hidden_weight(self) -> float:
        """Of the loss on hidden states."""

    @property
    def hidden_loss(self) -> HiddenLoss:
        """Which."""

    @property
    def vector_weight(self) -> float:
        """Of one less the cosine between both models' vectors of a text, means of their last hidden states."""

    @property
    def attention_weight(self) -> float:
        """Of the loss on attention."""

    @property
    def attention(self) -> Attention:
        """Which."""

    @property
    def relation_heads(self) -> int:
        """Of relations."""


def text_losses(asked: Learning) -> tuple[LossSpec, ...]:
    """The objectives that settings name."""
    maps = {"normalised": asked.attention == "maps"}
    relations = {"relation_heads": asked.relation_heads}
    attention = {
        "relations": LossSpec(name="minilmv2", weight=asked.attention_weight, options=relations),
        "none": LossSpec(name="attention-mse", weight=0.0),
    }
    specs = (
        LossSpec(name=f"hidden-{asked.hidden_loss}", weight=asked.hidden_weight),
        LossSpec(name="sentence-vectors", weight=asked.vector_weight, options={"distance": "cosine"}),
        attention.get(
            asked.attention, LossSpec(name="attention-mse", weight=asked.attention_weight, options=maps)
        ),
    )
    return tuple(spec for spec in specs if spec.weight)


def weight_faults(asked: Learning) -> list[str]:
    """What is wrong with the weights: messages, none where nothing is."""
    faults = [
        f"{name} is {getattr(asked, name)}: give 0 or more"
        for name in ("hidden_weight", "vector_weight", "attention_weight")
        if not 0 <= getattr(asked, name) < float("inf")
    ]
    if asked.relation_heads < 1:
        faults.append(f"relation_heads is {asked.relation_heads}: give at least 1")
    return faults
