"""How the checkpoints of each ``model_type`` number their layers: one explicit table.

Tensor names were read off the files that transformers writes; a base model may sit under a prefix or at the top.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

FULL: Final = "full_attention"
SLIDING: Final = "sliding_attention"

Kinds = Callable[[Mapping[str, Any], int], "list[str] | None"]
"""The kind of each layer's attention, for a configuration that has no ``layer_types``; None: all are alike."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """The one stack of layers of a ``model_type``."""

    name: str
    """Regular expression of what stands before a layer's number in the names of its tensors."""
    counts: tuple[str, ...] = ("num_hidden_layers",)
    """Fields of config.json that count the layers, the class's own spelling first."""
    kinds: Kinds | None = None
    """Where layers differ in kind."""
    patterns: tuple[str, ...] = ()
    """Fields that describe the kinds by a rule, which a list of the kinds replaces."""
    absent_at_bottom: tuple[str, ...] = ()
    """Tensors that the lowest layer does not have, by what stands behind the layer's number."""
    by_index: str | None = None
    """Field that, when true, makes a layer compute something that depends on its number."""


def modernbert_kinds(config: Mapping[str, Any], layers: int) -> list[str] | None:
    """Every n-th layer sees the whole text, the others a window."""
    every = config.get("global_attn_every_n_layers", 3)
    if not isinstance(every, int) or every < 1:
        return None
    return [SLIDING if layer % every else FULL for layer in range(layers)]


def qwen_kinds(config: Mapping[str, Any], layers: int) -> list[str] | None:
    """With a window, layers from ``max_window_layers`` on see only that."""
    if not config.get("use_sliding_window", False) or config.get("sliding_window", 4096) is None:
        return None
    whole = config.get("max_window_layers", 28)
    return (
        [SLIDING if layer >= whole else FULL for layer in range(layers)] if isinstance(whole, int) else None
    )


def gemma2_kinds(config: Mapping[str, Any], layers: int) -> list[str] | None:
    """Layers take turns, a window first."""
    return [FULL if layer % 2 else SLIDING for layer in range(layers)]


def gemma3_kinds(config: Mapping[str, Any], layers: int) -> list[str] | None:
    """The last of each group of layers sees the whole text."""
    every = config.get("sliding_window_pattern", config.get("_sliding_window_pattern", 6))
    if not isinstance(every, int) or every < 1:
        return None
    return [SLIDING if (layer + 1) % every else FULL for layer in range(layers)]


def _encoder(prefix: str) -> Stack:
    return Stack(name=rf"(?:{prefix}\.)?encoder\.layer\.")


_DECODER = Stack(name=r"(?:model\.|transformer\.)?layers\.")
_QWEN = replace(_DECODER, kinds=qwen_kinds, patterns=("max_window_layers",))

STACKS: Final[Mapping[str, Stack]] = {
    "bert": _encoder("bert"),
    "roberta": _encoder("roberta"),
    "xlm-roberta": _encoder("roberta"),
    "xlm-roberta-xl": _encoder("roberta"),
    "camembert": _encoder("roberta"),
    "electra": _encoder("electra"),
    "deberta": _encoder("deberta"),
    "deberta-v2": _encoder("deberta"),
    "rembert": _encoder("rembert"),
    "mpnet": _encoder("mpnet"),
    "distilbert": Stack(
        name=r"(?:distilbert\.)?transformer\.layer\.", counts=("n_layers", "num_hidden_layers")
    ),
    "modernbert": Stack(
        name=r"(?:model\.)?layers\.",
        kinds=modernbert_kinds,
        patterns=("global_attn_every_n_layers",),
        absent_at_bottom=("attn_norm.weight", "attn_norm.bias"),
    ),
    "gpt2": Stack(
        name=r"(?:transformer\.)?h\.",
        counts=("n_layer", "num_hidden_layers"),
        by_index="scale_attn_by_inverse_layer_idx",
    ),
    "bloom": Stack(name=r"(?:transformer\.)?h\.", counts=("n_layer", "num_hidden_layers")),
    "xglm": Stack(name=r"(?:model\.)?layers\.", counts=("num_layers", "num_hidden_layers")),
    "llama": _DECODER,
    "mistral": _DECODER,
    "qwen2": _QWEN,
    "qwen3": _QWEN,
    "gemma": _DECODER,
    "gemma2": replace(_DECODER, kinds=gemma2_kinds),
    "gemma3_text": replace(
        _DECODER, kinds=gemma3_kinds, patterns=("sliding_window_pattern", "_sliding_window_pattern")
    ),
}

ENCODER_DECODER: Final = (
    "it has an encoder and a decoder, matched with each other; a student is made of one stack"
)
"""Why a model of two stacks is refused."""

REFUSED: Final[Mapping[str, str]] = {
    "albert": "all its layers share one set of weights, so fewer of them make it faster but not smaller",
    **dict.fromkeys(
        (
            "t5", "mt5", "umt5", "bart", "mbart", "m2m_100", "nllb-moe", "marian", "pegasus", "blenderbot",
            "blenderbot-small", "prophetnet", "longt5", "encoder-decoder", "fsmt", "plbart", "bigbird_pegasus",
        ),
        ENCODER_DECODER,
    ),
}  # fmt: skip
"""Why a ``model_type`` has no row above."""
