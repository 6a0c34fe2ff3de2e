"""Cross-entropy over a sample of the vocabulary: the loss and the gradient of an output head cost what was sampled."""

from polycompress.kernels.sampled_softmax.candidates import Candidates, join_candidates
from polycompress.kernels.sampled_softmax.negatives import (
    Proposal,
    draw_negatives,
    weighted_proposal,
    zipf_proposal,
)
from polycompress.kernels.sampled_softmax.op import sampled_softmax
from polycompress.kernels.sampled_softmax.reference import sampled_softmax_reference

__all__ = [
    "Candidates",
    "Proposal",
    "draw_negatives",
    "join_candidates",
    "sampled_softmax",
    "sampled_softmax_reference",
    "weighted_proposal",
    "zipf_proposal",
]
