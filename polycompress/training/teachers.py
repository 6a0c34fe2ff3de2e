"""Teachers: models that are asked, and never trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from polycompress.distill.outputs import Outputs


@dataclass(frozen=True, kw_only=True, slots=True)
class Further:
    """A second, third or later teacher."""

    model: Any
    """Of transformers."""
    rows: Tensor | None = None
    """(V,) its id of each of the student's tokens, where they differ."""


def freeze(model: Any) -> Any:
    """Put a model into eval mode, without gradients; itself."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.eval()


def round_linear_(model: nn.Module) -> None:
    """Round the weights of linear layers to bf16 once, as autocast would before each product; results stay the same.

    A head's table that is the input table as well stays as it is: nothing is rounded where rows are looked up.
    """
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for module in model.modules():
        if isinstance(module, nn.Linear) and id(module.weight) not in tables:
            module.weight.data = module.weight.data.bfloat16()
            if module.bias is not None:
                module.bias.data = module.bias.data.bfloat16()


def in_ids_of(inputs: Mapping[str, Tensor], rows: Tensor | None) -> Mapping[str, Tensor]:
    """The same tokens by a teacher's ids, (V,) of which are given; None: they have the same."""
    return inputs if rows is None else {**inputs, "input_ids": rows[inputs["input_ids"]]}


def together(parts: Sequence[tuple[Tensor, Outputs]]) -> Outputs:
    """Outputs of a batch from those of parts of it.

    Args:
        parts: (b,) places of texts in the batch, and what was said of them. All were padded to one width.
    """
    order = torch.cat([places for places, _ in parts]).argsort()

    def joined(tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(tensors))[order]

    first = parts[0][1]
    found: dict[str, Any] = {
        name: {
            layer: joined([getattr(part, name)[layer] for _, part in parts]) for layer in getattr(first, name)
        }
        for name in ("hidden", "queries", "keys", "values")
    }
    logits = [part.logits for _, part in parts if part.logits is not None]
    return Outputs(**found, logits=joined(logits) if logits else None)
