"""Run a model of transformers and keep what objectives ask for: hidden states, queries, keys, values of some layers.

Hidden states come from the library. Queries, keys and values are what the projections of the wanted layers put out, so
that attention itself may stay fused: maps are computed from them afterwards, for those layers alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from polycompress.distill.head_places import HeadPlaces
from polycompress.distill.outputs import Needs, Outputs
from polycompress.distill.plain_attention import plain_where_faster
from polycompress.errors import InputError
from polycompress.modeldir.axes_table import base_type

Role = Literal["queries", "keys", "values"]
ROLES: Final[tuple[Role, ...]] = ("queries", "keys", "values")
_PROJECTIONS: Final[tuple[tuple[str, str, str], ...]] = (
    ("query", "key", "value"),  # BERT, RoBERTa, XLM-R, ELECTRA
    ("q_lin", "k_lin", "v_lin"),  # DistilBERT
    ("query_proj", "key_proj", "value_proj"),  # DeBERTa-v2
    ("q_proj", "k_proj", "v_proj"),  # Llama, Qwen, Mistral, Gemma, XGLM
    ("q", "k", "v"),  # MPNet
)
PLAIN_ATTENTION: Final = frozenset(
    (
        "bert",
        "roberta",
        "xlm-roberta",
        "xlm-roberta-xl",
        "camembert",
        "electra",
        "distilbert",
        "ernie",
        "rembert",
    )
)
"""Model types whose attention is the softmax of Q K^T / sqrt(d) and nothing else: no rotation, no distances, no causal
mask."""
_LAYER: Final = re.compile(r"(?:^|\.)(\d+)\.(?:[^.]+\.)*?([^.]+)$")


@dataclass(frozen=True, slots=True)
class Projections:
    """The modules of a model whose outputs are queries, keys and values, by layer."""

    modules: Mapping[Role, Mapping[int, nn.Module]]
    head_size: int


class Watched:
    """A model together with what is wanted of it."""

    def __init__(self, model: Any, needs: Needs, who: str, *, at_places: bool = False) -> None:
        """Check that the model can give what is wanted.

        Args:
            model: Of transformers, with or without a head.
            needs: What is wanted.
            who: Whose it is, for messages: ``teacher`` or ``student``.
            at_places: Whether its logits are over a vocabulary, and will be asked for at some tokens alone.

        Raises:
            InputError: It cannot; every fault is named.
        """
        self.model, self.needs, self._who = model, needs, who
        self._kept: dict[Role, dict[int, Tensor]] = {role: {} for role in ROLES}
        self._is_watching = False
        faults = check_needs(model, needs, who)
        if faults:
            raise InputError("; ".join(faults) + ".")
        self._head = HeadPlaces(model) if at_places else None
        self._wanted: dict[Role, frozenset[int]] = {role: getattr(needs, role) for role in ROLES}
        found = find_projections(model) if any(self._wanted.values()) else None
        self._head_size = found.head_size if found is not None else 0
        for role in ROLES:
            for layer in self._wanted[role]:
                assert found is not None
                found.modules[role][layer].register_forward_hook(self._keeper(role, layer))

    def __call__(self, inputs: Mapping[str, Tensor], places: Tensor | None = None) -> Outputs:
        """Run the model.

        Args:
            inputs: What it takes, besides options.
            places: (T,) int64 tokens, counted through the batch, at which its logits, (T, V), are asked for; None: at
                all.
        """
        asked = {**inputs, "output_hidden_states": bool(self.needs.hidden), "return_dict": True}
        logits: Tensor | None = None
        with self._keeping(), plain_where_faster(next(iter(inputs.values())).device):
            if places is not None and self._head is not None:
                found, logits = self._head.logits(asked, places)
            else:
                found = self.model(**asked)
            heads = {
                role: {layer: split_heads(kept, self._head_size) for layer, kept in layers.items()}
                for role, layers in self._kept.items()
            }
        states = getattr(found, "hidden_states", None)
        if self.needs.hidden and states is None:
            raise InputError(
                f"the {self._who} ({type(self.model).__name__}) gives no hidden states: take another model, "
                "or leave out losses on them."
            )
        return Outputs(
            hidden={number: states[number] for number in sorted(self.needs.hidden)} if states else {},
            queries=heads["queries"],
            keys=heads["keys"],
            values=heads["values"],
            logits=(_logits(found, inputs["attention_mask"]) if logits is None else logits)
            if self.needs.logits
            else None,
        )

    def _keeper(self, role: Role, layer: int) -> Any:
        def keep(module: nn.Module, arguments: Any, output: Tensor) -> None:
            # DeBERTa-v2 puts its relative positions through the same projections afterwards.
            if self._is_watching:
                self._kept[role].setdefault(layer, output)

        return keep

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        self._is_watching = True
        try:
            yield
        finally:
            self._is_watching = False
            for kept in self._kept.values():
                kept.clear()


def split_heads(projected: Tensor, head_size: int) -> Tensor:
    """(B, n, A h), or (B, n, A, h), to (B, A, n, h)."""
    heads = projected.reshape(*projected.shape[:2], -1, head_size)
    return heads.transpose(1, 2)


def find_projections(model: Any) -> Projections | None:
    """Where a model makes queries, keys and values; None where nothing is known of its type."""
    modules: dict[str, dict[int, nn.Module]] = {}
    for name, module in model.base_model.named_modules():
        place = _LAYER.search(name)
        if place is not None:
            modules.setdefault(place[2], {}).setdefault(int(place[1]), module)
    for names in _PROJECTIONS:
        if all(name in modules for name in names):
            found = dict(zip(ROLES, (modules[name] for name in names), strict=True))
            return Projections(found, head_size_of(model.config))
    return None


def head_size_of(config: Any) -> int:
    """Units of one attention head."""
    named = getattr(config, "head_dim", None)
    heads: int = getattr(config, "num_attention_heads", None) or config.n_heads
    return named if isinstance(named, int) else int(config.hidden_size) // int(heads)


def layers_of(config: Any) -> int:
    """Layers of a model."""
    return int(config.num_hidden_layers)


def check_needs(model: Any, needs: Needs, who: str) -> list[str]:
    """What a model cannot give of what is wanted: messages, none where it can all.

    Args:
        model: Of transformers.
        needs: What is wanted.
        who: Whose it is, for messages.
    """
    faults = []
    layers, kind = layers_of(model.config), base_type(str(model.config.model_type))
    if beyond := sorted(number for number in needs.hidden if not 0 <= number <= layers):
        faults.append(
            f"the {who} has hidden states 0 to {layers} (0: embeddings), but {beyond[0]} is asked for"
        )
    projected = needs.queries | needs.keys | needs.values
    if beyond := sorted(layer for layer in projected if not 0 <= layer < layers):
        faults.append(
            f"the {who} has layers 0 to {layers - 1}, but the attention of {beyond[0]} is asked for"
        )
    if projected and find_projections(model) is None:
        faults.append(
            f"the {who} ({kind}) shows no queries, keys and values of its own: leave out losses on attention "
            "(--attention none), or take another model"
        )
    return faults


def check_plain_attention(config: Any, who: str) -> list[str]:
    """What speaks against computing a model's attention maps from its queries and keys alone."""
    kind = base_type(str(config.model_type))
    positions = getattr(config, "position_embedding_type", None) or "absolute"
    if kind in PLAIN_ATTENTION and positions == "absolute" and not getattr(config, "is_decoder", False):
        return []
    return [
        f"the {who} ({kind}) has attention that its queries and keys alone do not make (rotated or relative positions, "
        "or a causal mask): match relations instead of attention maps (--attention relations; in recipes minilmv2)"
    ]


def _logits(found: Any, attention_mask: Tensor) -> Tensor:
    """The head's logits; those of an answer's two ends stacked, with padding out of reach."""
    if hasattr(found, "start_logits"):
        ends = torch.stack([found.start_logits, found.end_logits], dim=1)
        return ends.masked_fill(attention_mask[:, None] == 0, -torch.inf)
    logits: Tensor = found.logits
    return logits
