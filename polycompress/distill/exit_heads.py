"""A model's own head of a task, put on the hidden states of any of its layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor

from polycompress.distill.objectives.multi_exit import Head
from polycompress.errors import InputError
from polycompress.modeldir.axes_table import base_type

_TOLERANCE: Final = 1e-4
"""Of the largest logit."""
_SEQUENCE: Final = "ForSequenceClassification"
_TOKEN: Final = "ForTokenClassification"


def _whole(model: Any, states: Tensor) -> Tensor:
    logits: Tensor = model.classifier(states)
    return logits


def _pooled_inside(model: Any, states: Tensor) -> Tensor:
    logits: Tensor = model.classifier(model.dropout(model.base_model.pooler(states)))
    return logits


def _pooled_outside(model: Any, states: Tensor) -> Tensor:
    logits: Tensor = model.classifier(model.dropout(model.pooler(states)))
    return logits


def _first_token(model: Any, states: Tensor) -> Tensor:
    logits: Tensor = model.classifier(model.dropout(model.pre_classifier(states[:, 0]).relu()))
    return logits


_OF_TEXTS: Final[Mapping[str, Callable[[Any, Tensor], Tensor]]] = {
    **dict.fromkeys(("roberta", "xlm-roberta", "camembert", "electra", "mpnet"), _whole),
    **dict.fromkeys(("bert", "ernie"), _pooled_inside),
    **dict.fromkeys(("deberta", "deberta-v2"), _pooled_outside),
    "distilbert": _first_token,
}
"""By model type: how a head of texts reads hidden states. In all of these nothing follows the last layer, so that a
model cut to its lower layers hands the head what the exit above them does."""


def check_exits(model_type: str, who: str = "student") -> list[str]:
    """What speaks against exits of a type of model: messages, none where nothing does."""
    if base_type(model_type) in _OF_TEXTS:
        return []
    return [
        f"multi-exit: the {who} is of the type {model_type!r}, of which it is not known that its head can read lower "
        f"layers (a norm may follow the last one): take a model of {', '.join(sorted(_OF_TEXTS))}"
    ]


def exit_head(model: Any) -> Head:
    """The head of a model as a function of hidden states; its parameters stay the model's own.

    Args:
        model: Of transformers, with a head that classifies texts or tokens.

    Returns:
        From states (B, n, d) of any layer to logits, (B, C) of texts or (B, n, C) of tokens.

    Raises:
        InputError: Its type is not known, it has another head, or the function does not say of the last layer's states
            what the model says.
    """
    faults = check_exits(str(model.config.model_type))
    name = type(model).__name__
    if not faults and not name.endswith((_SEQUENCE, _TOKEN)):
        faults = [
            f"multi-exit: {name} has no head that classifies texts or tokens, so that exits have nothing to say"
        ]
    if faults:
        raise InputError(f"{faults[0]}.")
    if name.endswith(_TOKEN):

        def head(states: Tensor) -> Tensor:
            return _whole(model, model.dropout(states))
    else:
        read = _OF_TEXTS[base_type(str(model.config.model_type))]

        def head(states: Tensor) -> Tensor:
            return read(model, states)

    _check_same(model, head)
    return head


def _check_same(model: Any, head: Head) -> None:
    table = model.get_input_embeddings()
    ids = torch.arange(12, device=next(table.parameters()).device).reshape(2, 6) % table.num_embeddings
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            found = model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                output_hidden_states=True,
                return_dict=True,
            )
            ours = head(found.hidden_states[-1])
    finally:
        model.train(training)
    scale = float(found.logits.abs().max())
    if ours.shape != found.logits.shape or (ours - found.logits).abs().max() > _TOLERANCE * max(scale, 1e-6):
        raise InputError(
            f"multi-exit: the head of {type(model).__name__} makes something else of the last layer's hidden states "
            "than is known of its type: leave exits out for this model."
        )
