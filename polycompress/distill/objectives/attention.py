"""Attention maps of matched layers, from queries and keys alone, so that attention itself may run fused."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional

from polycompress.distill.objective import Objective, masked_mean
from polycompress.distill.objectives.divergences import kl
from polycompress.distill.objectives.inputs import Pairs, check_pairs, wide
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.errors import InputError


def attention_scores(queries: Tensor, keys: Tensor) -> Tensor:
    """Q K^T / sqrt(d), with d the units of a head.

    Args:
        queries: (B, A, n, d)
        keys: (B, A, n, d), or with fewer heads, each for as many queries' heads in a row.

    Returns:
        (B, A, n, n), fp32 or wider: rows are queries. Products are not left to autocast, for relations of a state with
        itself are large and bf16 would round them by whole units.

    Raises:
        InputError: The keys' heads do not divide the queries'.

    Reference:
        Vaswani et al., "Attention is all you need" (2017), equation 1; Ainslie et al., "GQA" (2023), for shared keys.
    """
    repeats, rest = divmod(queries.shape[1], keys.shape[1])
    if rest:
        raise InputError(
            f"attention: {keys.shape[1]} heads of keys do not divide {queries.shape[1]} heads of queries; heads "
            "have to be those of one model."
        )
    with torch.autocast(queries.device.type, enabled=False):
        own, others = wide(queries) / math.sqrt(queries.shape[-1]), wide(keys)
        if repeats > 1:
            others = others.repeat_interleave(repeats, dim=1)
        return own @ others.transpose(-1, -2)


def attention_maps(queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
    """Softmax of the scores over real keys.

    Args:
        queries: (B, A, n, d)
        keys: (B, A, n, d), or with fewer heads.
        mask: (B, n) bool, True for real tokens.

    Returns:
        (B, A, n, n), fp32 or wider; rows sum to 1, padding gets 0, and rows of padding are even over real keys.
    """
    return torch.softmax(_scores_of_real(queries, keys, mask), dim=-1)


def attention_log_maps(queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
    """The logarithm of ``attention_maps``, -inf for padding."""
    return torch.log_softmax(_scores_of_real(queries, keys, mask), dim=-1)


def without_padding(heads: Tensor, mask: Tensor) -> Tensor:
    """Heads with zeros at padding: what stands there, infinities even, would reach gradients through products.

    Args:
        heads: (B, A, n, d)
        mask: (B, n) bool, True for real tokens.
    """
    return heads.masked_fill(~mask[:, None, :, None], 0.0)


def attention_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """The mean squared error over entries whose query and key are both real, and over heads.

    Args:
        student: (B, A, n, n) maps or scores.
        teacher: (B, A, n, n) the same of the teacher; gets no gradient.
        mask: (B, n) bool, True for real tokens.

    Returns:
        Scalar, fp32 or wider. Of maps it falls with about the square of the length, since a row's n entries share 1.

    Raises:
        InputError: The numbers of heads differ.
    """
    _check_heads(student, teacher)
    real = mask[:, None, :, None] & mask[:, None, None, :]
    # Squares are summed without another mask: at padding they are 0, and there are n^2 of them.
    squares = (wide(student) - wide(teacher.detach())).masked_fill_(~real, 0.0).square()
    return squares.sum() / (real.sum() * student.shape[1]).clamp(min=1)


def attention_kl(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """KL(A^T || A^S) over real keys, the mean over heads and real queries.

    Args:
        student: (B, A, n, n) logarithms of maps.
        teacher: (B, A, n, n) the same of the teacher; gets no gradient.
        mask: (B, n) bool, True for real tokens.

    Returns:
        Scalar, fp32 or wider.

    Raises:
        InputError: The numbers of heads differ.

    Reference:
        Wang et al., "MiniLM" (2020), section 3.1.
    """
    _check_heads(student, teacher)
    return masked_mean(kl(wide(teacher.detach()), wide(student)), mask[:, None, :])


class AttentionMSE(Objective):
    """Mean squared error of attention, the mean over pairs of layers.

    Of maps after the softmax (``normalised``) it is BiStil's L_a; of scores before it, TinyBERT's, which long texts do
    not shrink. Both leave padding out by the mask.

    Reference:
        Jiao et al., "TinyBERT" (2020), equation 7; Ansell et al., "Distilling Efficient Language-Specific Models for
        Cross-Lingual Transfer" (2023).
    """

    def __init__(self, pairs: Iterable[tuple[int, int]], normalised: bool = True) -> None:
        """Say what is matched.

        Args:
            pairs: Layers of the student and of the teacher, from 0.
            normalised: Whether after the softmax.

        Raises:
            InputError: There is no pair, or one is not right.
        """
        super().__init__()
        self.pairs, self.normalised = check_pairs("attention-mse", pairs), normalised
        self.student_needs, self.teacher_needs = _needs(self.pairs)

    def forward(self, student: Outputs, teacher: Outputs, given: Given) -> Tensor:
        """The mean over pairs."""
        real = given.mask.sum(dim=1).square().sum()  # pairs of a query and a key
        losses = [
            _squares(self._maps(student, own, given.mask), self._maps(teacher, other, given.mask), real)
            for own, other in self.pairs
        ]
        return torch.stack(losses).mean()

    def _maps(self, outputs: Outputs, layer: int, mask: Tensor) -> Tensor:
        queries, keys = outputs.queries[layer], outputs.keys[layer]
        if self.normalised:
            return attention_maps(queries, keys, mask)
        return attention_scores(without_padding(queries, mask), without_padding(keys, mask))


class AttentionKL(Objective):
    """KL(A^T || A^S) of attention maps, the mean over pairs of layers.

    Reference:
        Wang et al., "MiniLM" (2020), section 3.1, for several layers.
    """

    def __init__(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Say what is matched.

        Args:
            pairs: Layers of the student and of the teacher, from 0.

        Raises:
            InputError: There is no pair, or one is not right.
        """
        super().__init__()
        self.pairs = check_pairs("attention-kl", pairs)
        self.student_needs, self.teacher_needs = _needs(self.pairs)

    def forward(self, student: Outputs, teacher: Outputs, given: Given) -> Tensor:
        """The mean over pairs."""
        mask = given.mask
        losses = [
            attention_kl(
                attention_log_maps(student.queries[own], student.keys[own], mask),
                attention_log_maps(teacher.queries[other], teacher.keys[other], mask),
                mask,
            )
            for own, other in self.pairs
        ]
        return torch.stack(losses).mean()


def _scores_of_real(queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
    """Scores with -inf for keys that are padding."""
    scores = attention_scores(without_padding(queries, mask), without_padding(keys, mask))
    # A text without a real token keeps all keys, for a softmax over none is not a number; its rows do not count.
    is_closed = ~mask & mask.any(dim=1, keepdim=True)
    # Added rather than filled in: there are n^2 of them, and a sum's gradient costs nothing.
    shut = torch.zeros(mask.shape, dtype=scores.dtype, device=mask.device).masked_fill_(is_closed, -torch.inf)
    return scores.add_(shut[:, None, None, :])


def _squares(student: Tensor, teacher: Tensor, real: Tensor) -> Tensor:
    """``attention_mse`` of what is equal at padding already, as maps and scores made here are.

    Args:
        student: (B, A, n, n)
        teacher: (B, A, n, n), gets no gradient.
        real: Scalar: how many pairs of a query and a key count, of one head.
    """
    _check_heads(student, teacher)
    squares = functional.mse_loss(student, teacher.detach(), reduction="sum")
    return squares / (real * student.shape[1]).clamp(min=1)


def _needs(pairs: Pairs) -> tuple[Needs, Needs]:
    """Queries and keys of both."""
    own, other = (frozenset(layers) for layers in zip(*pairs, strict=True))
    return Needs(queries=own, keys=own), Needs(queries=other, keys=other)


def _check_heads(student: Tensor, teacher: Tensor) -> None:
    if student.shape[1] != teacher.shape[1]:
        raise InputError(
            f"attention: the student has {student.shape[1]} heads and the teacher {teacher.shape[1]}, but maps are "
            "matched head by head; use relation losses (minilmv2), whose heads are their own."
        )
