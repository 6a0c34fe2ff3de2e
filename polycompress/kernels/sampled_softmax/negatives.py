r"""Negatives for a sampled softmax, with the exact probability that each was included.

M tries are made with replacement from a proposal q restricted to the ids outside the batch's own, and repeated ids are
dropped. An id j is then among the result with probability

    pi_j = 1 - (1 - q_j / Q)^M,    Q = the proposal's mass outside the own ids,

which is exact, so that sum_own exp(z_i) + sum_negatives exp(z_j) / pi_j estimates the partition function
without bias (Horvitz and Thompson 1952); the log of the estimate, and with it the loss, is biased low by its
relative variance over two, and exact when every id is given. The cost is that of M tries, not of the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from polycompress.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """A distribution from which negatives are drawn; make it once per vocabulary."""

    cumulative: Tensor
    """[V + 1] float64, strictly increasing from 0 to 1."""

    @property
    def vocabulary(self) -> int:
        """Number of ids, V."""
        return len(self.cumulative) - 1


def weighted_proposal(weights: Tensor) -> Proposal:
    """A proposal in proportion to weights, for example token counts to the power 0.75.

    Args:
        weights: [V], all above 0: an id that can never be drawn would be missing from the estimate (add a floor).

    Raises:
        InputError: A weight is not a finite number above 0, or so small that it vanishes beside the others.
    """
    total = weights.detach().to(torch.float64).cumsum(0)
    if not len(total):
        raise InputError("weighted_proposal: no weights were given; it needs one for each id")
    cumulative = torch.cat([total.new_zeros(1), total / total[-1]])
    good = cumulative.diff() > 0
    if not bool(good.all()):
        place = int((~good).nonzero()[0])
        raise InputError(
            f"weighted_proposal: weight {float(weights[place])} of id {place} is not above 0 or vanishes beside the "
            f"others; every id needs a weight, for example count + 1"
        )
    return Proposal(cumulative=cumulative)


def zipf_proposal(vocabulary: int, device: torch.device | str = "cpu") -> Proposal:
    """The log-uniform proposal, P(i) = log((i + 2) / (i + 1)) / log(V + 1): for ids sorted by falling frequency.

    Args:
        vocabulary: Number of ids, V, at least 1.
        device: Where negatives will be drawn.
    """
    steps = torch.arange(1, vocabulary + 2, dtype=torch.float64, device=device).log()
    return Proposal(cumulative=steps / steps[-1])


def draw_negatives(
    own: Tensor,
    vocabulary: int,
    count: int,
    *,
    generator: torch.Generator | None = None,
    distribution: Proposal | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw negatives from outside a batch's own ids.

    Args:
        own: Ids of any shape that have not to be drawn; repeated ones are fine, negative ones (ignored positions) are
            passed over.
        vocabulary: Number of ids, V.
        count: Number of tries M; at most this many ids come back. With as many tries as there are ids outside, all
            of them come back with certainty, and the softmax over them is exact.
        generator: Source of randomness; the draws are made on its device, the same for any device of ``own``.
        distribution: Proposal over the ids; None: uniform.

    Returns:
        Negatives [at most M] int64, increasing and distinct, and the log of their inclusion probabilities, float32,
        both on own's device.

    Raises:
        InputError: An own id is outside the vocabulary, or the proposal is for another one.
    """
    device = own.device if generator is None else generator.device
    own_ids = torch.unique(own.detach().to(device=device, dtype=torch.int64))  # sorted
    own_ids = own_ids[own_ids >= 0]
    if len(own_ids) and int(own_ids[-1]) >= vocabulary:
        raise InputError(
            f"draw_negatives: own id {int(own_ids[-1])} is outside a vocabulary of {vocabulary} ids"
        )
    if distribution is not None and distribution.vocabulary != vocabulary:
        raise InputError(
            f"draw_negatives: the proposal is over {distribution.vocabulary} ids and the vocabulary has {vocabulary}; "
            f"make a proposal for this vocabulary"
        )
    outside = vocabulary - len(own_ids)
    if count <= 0 or outside == 0:
        empty = torch.zeros(0, dtype=torch.int64, device=own.device)
        return empty, empty.to(torch.float32)
    if count >= outside:
        ids = _outside_id(torch.arange(outside, device=device), own_ids)
        share = torch.ones(outside, dtype=torch.float64, device=device)
    elif distribution is None:
        ranks = torch.randint(outside, (count,), generator=generator, device=device)
        ids = _outside_id(torch.unique(ranks), own_ids)
        share = torch.full((len(ids),), 1 / outside, dtype=torch.float64, device=device)
    else:
        ids, share = _draw_weighted(own_ids, count, distribution.cumulative.to(device), generator)
    if count >= outside:
        log_inclusion = torch.zeros_like(share)
    else:
        log_inclusion = (-torch.expm1(count * torch.log1p(-share))).log()
    return ids.to(own.device), log_inclusion.to(device=own.device, dtype=torch.float32)


def _outside_id(ranks: Tensor, own: Tensor) -> Tensor:
    """The id with so many ids below it that are not own."""
    below = own - torch.arange(len(own), device=own.device)  # ids outside below each own id
    return ranks + torch.searchsorted(below, ranks, right=True)


def _draw_weighted(
    own: Tensor, count: int, cumulative: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Distinct ids of so many tries, increasing, and each one's share of the mass outside the own ids.

    The own ids' intervals are cut out of the line [0, 1); a point on what is left is moved past the cuts before it.
    """
    mass = cumulative[own + 1] - cumulative[own]
    removed = torch.cat([mass.new_zeros(1), mass.cumsum(0)])  # before each cut, and in all
    left = 1.0 - removed[-1]
    points = left * torch.rand(count, dtype=torch.float64, generator=generator, device=own.device)
    cuts = torch.searchsorted(cumulative[own] - removed[:-1], points, right=True)
    points = points + removed[cuts]
    ids = torch.searchsorted(cumulative[1:], points, right=True).clamp_(max=len(cumulative) - 2)
    ids = torch.unique(ids)
    ids = ids[~torch.isin(ids, own)]  # a point rounded into a cut
    return ids, ((cumulative[ids + 1] - cumulative[ids]) / left).clamp_(max=1.0)
