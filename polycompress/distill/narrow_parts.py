"""Parts of BERT made narrower: embeddings, attention, feed-forward layers. Modules of a student are written to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from polycompress.distill.shrinking import choose_neurons, shrink_pair


def set_weights(module: Any, weight: Tensor, bias: Tensor) -> None:
    """Write weight and bias of a linear layer or a layer norm, rounded to its own type."""
    module.weight.copy_(weight)
    module.bias.copy_(bias)


def narrow_embeddings(source: Any, target: Any, turn: Tensor) -> None:
    """Tables write the stream: E' = E Q.

    Args:
        source: The teacher's embeddings.
        target: The student's.
        turn: Q, (d, d') float64.
    """
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        getattr(target, name).weight.copy_(getattr(source, name).weight.double() @ turn)


def narrow_attention(source: Any, target: Any, turn: Tensor, stream: Tensor) -> None:
    """Queries, keys and values read the stream, the output writes it; each head keeps its best coordinates.

    Args:
        source: The attention of the teacher's layer.
        target: The student's, with as many heads.
        turn: Q, (d, d') float64.
        stream: (n, d') what the student's layer is given for samples.
    """
    own, new = source.self, target.self
    heads, size, left = own.num_attention_heads, own.attention_head_size, new.attention_head_size
    weights = {name: getattr(own, name).weight.double() @ turn for name in ("query", "key", "value")}
    biases = {name: getattr(own, name).bias.double() for name in weights}
    given = {
        name: (stream.double() @ weights[name].T + biases[name]).unflatten(1, (heads, size))
        for name in weights
    }
    output = (turn.T @ source.output.dense.weight.double()).unflatten(1, (heads, size))  # (d', A, h)
    maps: dict[str, list[Tensor]] = {"query": [], "key": [], "value": [], "output": []}
    for head in range(heads):
        queries, keys = shrink_pair(given["query"][:, head], given["key"][:, head], left)
        # Scores are divided by the root of the head's size, which is another one now.
        scale = (left / size) ** 0.25
        values, outputs = shrink_pair(given["value"][:, head], output[:, head], left)
        for name, each in zip(maps, (queries * scale, keys * scale, values, outputs), strict=True):
            maps[name].append(each)
    stacked = {name: torch.stack(each) for name, each in maps.items()}  # (A, h, h')
    for name in weights:
        weight = torch.einsum("ahk,ahd->akd", stacked[name], weights[name].unflatten(0, (heads, size)))
        bias = torch.einsum("ahk,ah->ak", stacked[name], biases[name].unflatten(0, (heads, size)))
        set_weights(getattr(new, name), weight.flatten(0, 1), bias.flatten())
    written = torch.einsum("dah,ahk->dak", output, stacked["output"]).flatten(1)
    set_weights(target.output.dense, written, turn.T @ source.output.dense.bias.double())


def narrow_feed_forward(source: Any, target: Any, turn: Tensor, mean: Tensor, mean_size: Tensor) -> None:
    """The neurons that matter; the mean of what the others write goes into the bias.

    Args:
        source: The teacher's layer.
        target: The student's.
        turn: Q, (d, d') float64.
        mean: (f,) float64, of the teacher's activations on samples.
        mean_size: (f,) float64, of their absolute values.
    """
    inner, outer = source.intermediate.dense, source.output.dense
    written = turn.T @ outer.weight.double()  # (d', f)
    kept = choose_neurons(mean_size, written, target.intermediate.dense.out_features)
    set_weights(target.intermediate.dense, inner.weight.double()[kept] @ turn, inner.bias.double()[kept])
    lost = mean.index_fill(0, kept, 0.0)
    set_weights(target.output.dense, written[:, kept], turn.T @ outer.bias.double() + written @ lost)
