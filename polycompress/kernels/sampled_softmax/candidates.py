"""The ids over which a sampled softmax is taken, each with the correction of its logit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from polycompress.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The union of a batch's own tokens and the negatives from outside them, each id once."""

    ids: Tensor
    """[C] int64, increasing."""
    correction: Tensor
    """[C] float32, added to the logits: 0 for own tokens, minus the log of the inclusion probability for negatives."""
    positions: Tensor
    """[N] int64: where each label stands in ``ids``."""
    vocabulary: int
    """V, the number of ids there are."""

    @property
    def exact(self) -> bool:
        """Whether the loss is the full cross-entropy: every id is there, and certainly so (corrections are 0)."""
        return len(self.ids) == self.vocabulary and not bool(self.correction.any())


def join_candidates(labels: Tensor, negatives: Tensor, log_inclusion: Tensor, vocabulary: int) -> Candidates:
    """Join a batch's labels with shared negatives.

    Negatives that are among the labels and repeated negatives count once: an own token is there with certainty, and its
    correction is 0. Whoever needs the table's rows up to date before the loss reads them finds their ids here.

    Args:
        labels: [N] int32 or int64, none ignored.
        negatives: [M] int32 or int64.
        log_inclusion: [M], log of the probability with which each negative was included; equal ids, equal values.
        vocabulary: Number of ids, V.

    Raises:
        InputError: An id is outside the vocabulary, or a probability is above 1 or not a number.
    """
    every = torch.cat([labels.to(torch.int64), negatives.to(torch.int64)])
    ids, places = torch.unique(every, sorted=True, return_inverse=True)
    if len(ids) and not (0 <= int(ids[0]) and int(ids[-1]) < vocabulary):
        raise _outside(labels, negatives, vocabulary)
    if not bool((log_inclusion <= 0).all()):
        place = int((~(log_inclusion <= 0)).nonzero()[0])
        raise InputError(
            f"sampled_softmax: log_inclusion[{place}] is {float(log_inclusion[place])}; "
            f"the log of a probability is 0 or less"
        )
    correction = torch.zeros(len(ids), dtype=torch.float32, device=ids.device)
    correction[places[len(labels) :]] = -log_inclusion.to(torch.float32)
    correction[places[: len(labels)]] = 0.0
    return Candidates(ids=ids, correction=correction, positions=places[: len(labels)], vocabulary=vocabulary)


def _outside(labels: Tensor, negatives: Tensor, vocabulary: int) -> InputError:
    name, ids = "label", labels
    if not bool(((labels < 0) | (labels >= vocabulary)).any()):
        name, ids = "negative", negatives
    place = int(((ids < 0) | (ids >= vocabulary)).nonzero()[0])
    return InputError(
        f"sampled_softmax: {name} {int(ids[place])} (number {place} of those that count) is outside the table, "
        f"which has rows 0 to {vocabulary - 1}; mark positions to leave out with ignore_index"
    )
