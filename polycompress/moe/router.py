"""Which experts a token gets, with what weights, and what teaches the router: pure functions.

T tokens, E experts, k of them for each token.
"""

from __future__ import annotations

import torch
from torch import Tensor


def route(
    logits: Tensor, top_k: int, *, normalise: bool, forced: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Choose each token's experts: the k most probable, the last exchanged where its family has none among them.

    A token whose family has experts, none of which is chosen, gets the family's most probable expert instead of its
    last choice; with k = 1 that is the only one. Of equal probabilities the expert of the lower number comes first.

    Args:
        logits: (T, E), of the router; computed with in fp32, or wider where they are.
        top_k: k, 1 to E.
        normalise: Whether the weights of the k are scaled to sum to 1, after the exchange.
        forced: (T, E) bool, the experts of each token's family; all false: none is forced. None: of no token.

    Returns:
        ``indices`` (T, k) int64, distinct in each row, the most probable first but for what was exchanged; ``weights``
        (T, k), their probabilities, scaled or not; ``probabilities`` (T, E), the softmax of all logits.

    Reference:
        Zheng et al., "Efficiently Democratizing Medical LLMs for 50 Languages via a Mixture of Language Family
        Experts", ICLR 2025, https://arxiv.org/abs/2410.10626 (hybrid routing; there k = 2, nothing is scaled, and
        weights are not scaled after the exchange).
    """
    if logits.dtype != torch.float64:
        logits = logits.float()
    probabilities = logits.softmax(dim=-1)
    # a stable sort, since topk does not say which of equal values it takes
    order = logits.detach().sort(dim=-1, descending=True, stable=True).indices
    indices = order[:, :top_k].contiguous()
    if forced is not None:
        own = forced.gather(1, order)  # the family's, the most probable first
        best = order.gather(1, own.to(torch.uint8).argmax(dim=1, keepdim=True))
        exchange = own.any(dim=1, keepdim=True) & ~own[:, :top_k].any(dim=1, keepdim=True)
        indices[:, -1:] = torch.where(exchange, best, indices[:, -1:])
    if normalise:
        # the softmax of the chosen logits: the same as scaling their probabilities, without 0 / 0
        weights = logits.gather(1, indices).softmax(dim=-1)
    else:
        weights = probabilities.gather(1, indices)
    return indices, weights, probabilities


def supervision_loss(probabilities: Tensor, family_mask: Tensor, valid: Tensor | None = None) -> Tensor:
    """How improbable the router finds the experts of each token's family: -log of their summed probability.

    The mean over valid tokens whose family is known; 0 where there is none. It is 0 where all probability lies on the
    family's experts, and log E for a family of one expert and a router that knows nothing.

    Args:
        probabilities: (T, E), rows that sum to 1.
        family_mask: (T, E) bool, the experts of each token's family; all false: unknown.
        valid: (T,) bool, false for padding; None: all are.

    Returns:
        A scalar.
    """
    known = family_mask.any(dim=-1) if valid is None else family_mask.any(dim=-1) & valid
    inside = (probabilities * family_mask).sum(dim=-1).clamp_min(torch.finfo(probabilities.dtype).tiny)
    return -(inside.log() * known).sum() / known.sum().clamp_min(1)


def balancing_loss(probabilities: Tensor, indices: Tensor, valid: Tensor | None = None) -> Tensor:
    """How unevenly experts are used: E times the sum of each one's share of choices times its mean probability.

    1 where all are used alike, up to E where one is used alone; gradients flow through the probabilities.

    Args:
        probabilities: (T, E), rows that sum to 1.
        indices: (T, k), the experts chosen.
        valid: (T,) bool, false for padding; None: all are.

    Returns:
        A scalar; 0 without a valid token.

    Reference:
        Fedus, Zoph, Shazeer, "Switch Transformers", JMLR 2022, equations 4 to 6, https://arxiv.org/abs/2101.03961; for
        k > 1 a choice counts 1 / k, as in Zoph et al., "ST-MoE", 2022, https://arxiv.org/abs/2202.08906.
    """
    experts = probabilities.shape[-1]
    counted = probabilities.new_ones(len(probabilities)) if valid is None else valid.to(probabilities.dtype)
    tokens = counted.sum().clamp_min(1)
    chosen = torch.nn.functional.one_hot(indices, experts).sum(dim=1).to(probabilities.dtype)
    shares = counted @ chosen / (tokens * indices.shape[1])
    return experts * (shares * (counted @ probabilities / tokens)).sum()
