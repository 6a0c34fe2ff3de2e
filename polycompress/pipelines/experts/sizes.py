"""Parameters of a model with experts: all of them, and those that one token meets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from polycompress.modeldir.tensors import Checkpoint
from polycompress.moe.config import MoeConfig
from polycompress.moe.places import LayerTensors, expert_networks
from polycompress.pipelines.trimming.loading import OpenModel, naming

ROUTER_BYTES = 4
"""Of a router's weight, which is float32 always."""


def plain_size(size: Mapping[str, int]) -> dict[str, int]:
    """The size of a plain model, of which a token meets all parameters."""
    return {**size, "active_parameters": size["parameters"]}


def grown_size(
    plain: Mapping[str, int],
    checkpoint: Checkpoint,
    networks: Sequence[LayerTensors],
    experts: int,
    top_k: int,
) -> dict[str, int]:
    """The size of a plain model once some of its layers have experts.

    Args:
        plain: ``parameters``, ``bytes`` and others of the plain model.
        checkpoint: Its weights.
        networks: Of the layers that get experts.
        experts: E.
        top_k: k, experts of a token.

    Returns:
        As of ``active_size``.
    """
    infos = [checkpoint.tensors[name] for each in networks for name in each.plain]
    routers = sum(experts * each.hidden for each in networks)
    one = sum(math.prod(info.shape) for info in infos)
    total = plain["parameters"] + (experts - 1) * one + routers
    return {
        **plain,
        "parameters": total,
        "active_parameters": total - (experts - top_k) * one,
        "bytes": plain["bytes"] + (experts - 1) * sum(info.nbytes for info in infos) + routers * ROUTER_BYTES,
    }


def active_size(
    size: Mapping[str, int],
    checkpoint: Checkpoint,
    networks: Sequence[LayerTensors],
    experts: int,
    top_k: int,
) -> dict[str, int]:
    """The size of a model with experts.

    Args:
        size: ``parameters``, ``bytes`` and others of it.
        checkpoint: Its weights.
        networks: Of the layers that have experts.
        experts: E.
        top_k: k, experts of a token.

    Returns:
        The same fields, and ``active_parameters``: all but those of the E - k experts of each layer that a token does
        not come to. Embeddings count as a whole, as elsewhere.
    """
    infos = [checkpoint.tensors[name] for each in networks for name in each.experts]
    one = sum(math.prod(info.shape) for info in infos) // experts
    return {**size, "active_parameters": size["parameters"] - (experts - top_k) * one}


def met_parameters(parameters: int, opened: OpenModel, moe: MoeConfig) -> int:
    """How many of a model's parameters one token meets.

    Args:
        parameters: All of them.
        opened: A model with experts.
        moe: What its configuration says of them.

    Raises:
        InputError: Its weights are not those of its configuration.
    """
    with naming(opened.source.path):
        networks = expert_networks(opened.config, opened.checkpoint.tensors, moe)
    size = {"parameters": parameters}
    return active_size(size, opened.checkpoint, networks, moe.experts, moe.top_k)["active_parameters"]
