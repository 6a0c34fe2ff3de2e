"""MiniLMv2: relations among queries, among keys and among values, with heads of their own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import torch
from torch import Tensor

from polycompress.distill.objective import Objective
from polycompress.distill.objectives.attention import attention_kl, attention_log_maps
from polycompress.distill.objectives.inputs import check_pairs
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.errors import InputError

Role = Literal["queries", "keys", "values"]
ROLES: Final[tuple[Role, ...]] = ("queries", "keys", "values")


def split_relation_heads(heads: Tensor, relation_heads: int) -> Tensor:
    """All heads joined, and split anew.

    Args:
        heads: (B, A, n, h); any A.
        relation_heads: Into how many; divides A h.

    Returns:
        (B, relation_heads, n, A h / relation_heads); relation heads cut across heads by design.
    """
    joined = heads.transpose(1, 2).flatten(start_dim=2)
    return joined.unflatten(2, (relation_heads, -1)).transpose(1, 2)


def relation_kl(student: Tensor, teacher: Tensor, mask: Tensor, relation_heads: int) -> Tensor:
    """KL(R^T || R^S) with R = softmax(X X^T / sqrt(d_r)), the mean over relation heads and real tokens.

    Args:
        student: (B, A_S, n, h_S) queries, keys or values.
        teacher: (B, A_T, n, h_T) the same of the teacher; gets no gradient.
        mask: (B, n) bool, True for real tokens.
        relation_heads: A_r, divides A_S h_S and A_T h_T; d_r is each model's width over A_r.

    Returns:
        Scalar, fp32 or wider. A rotation within a relation head changes nothing.

    Reference:
        Wang et al., "MiniLMv2" (2021), section 3.1.
    """
    states = [split_relation_heads(heads, relation_heads) for heads in (student, teacher.detach())]
    own, other = (attention_log_maps(state, state, mask) for state in states)
    return attention_kl(own, other, mask)


class MiniLMv2(Objective):
    """Multi-head self-attention relations of one pair of layers: widths and numbers of heads may differ.

        L = sum over X in (Q, K, V) of alpha_X KL(R^T_X || R^S_X),    R_X = softmax(X X^T / sqrt(d_r))

    Reference:
        Wang et al., "MiniLMv2: Multi-Head Self-Attention Relation Distillation for Compressing Pretrained
        Transformers" (2021), section 3.1.
    """

    def __init__(
        self,
        student_layer: int,
        teacher_layer: int,
        relation_heads: int,
        alphas: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> None:
        """Say what is matched.

        Args:
            student_layer: From 0; as a rule the last.
            teacher_layer: From 0; the last, or of a large teacher one a few below.
            relation_heads: A_r, divides the widths of both models' queries, keys and values.
            alphas: Weights of the relations among queries, keys and values, at least 0; where one is 0, its part is
                not asked for.

        Raises:
            InputError: Values do not fit; all faults are named.
        """
        super().__init__()
        check_pairs("minilmv2", [(student_layer, teacher_layer)])
        faults = []
        if relation_heads < 1:
            faults.append(f"relation_heads={relation_heads} has to be at least 1")
        if (
            len(alphas) != len(ROLES)
            or not all(0.0 <= alpha < math.inf for alpha in alphas)
            or not any(alphas)
        ):
            faults.append(
                f"alphas={tuple(alphas)} has to be three numbers from 0, for queries, keys, values, not all 0"
            )
        if faults:
            raise InputError(f"minilmv2: {'; '.join(faults)}.")
        self.student_layer, self.teacher_layer = student_layer, teacher_layer
        self.relation_heads = relation_heads
        self.alphas: Mapping[Role, float] = {
            role: float(alpha) for role, alpha in zip(ROLES, alphas, strict=True) if alpha
        }
        self.student_needs = _needs(self.alphas, student_layer)
        self.teacher_needs = _needs(self.alphas, teacher_layer)

    def forward(self, student: Outputs, teacher: Outputs, given: Given) -> Tensor:
        """The weighted sum of the divergences."""
        found: dict[Role, tuple[Tensor, Tensor]] = {
            role: (getattr(student, role)[self.student_layer], getattr(teacher, role)[self.teacher_layer])
            for role in self.alphas
        }
        self._check(found)
        losses = [
            alpha * relation_kl(*found[role], given.mask, self.relation_heads)
            for role, alpha in self.alphas.items()
        ]
        return torch.stack(losses).sum()

    def _check(self, found: Mapping[Role, tuple[Tensor, Tensor]]) -> None:
        widths = {
            f"the {who}'s {role}": heads.shape[1] * heads.shape[3]
            for role, both in found.items()
            for who, heads in zip(("student", "teacher"), both, strict=True)
        }
        unfit = [
            f"{whose} are {width} wide" for whose, width in widths.items() if width % self.relation_heads
        ]
        if unfit:
            raise InputError(
                f"minilmv2: {self.relation_heads} relation heads do not divide all widths: {'; '.join(unfit)}. "
                f"These do: {common_divisors(widths.values())}."
            )


def common_divisors(widths: Iterable[int]) -> str:
    """Those of all widths, from 1 on, for a message."""
    common = math.gcd(*widths)
    return ", ".join(str(number) for number in range(1, common + 1) if common % number == 0)


def _needs(roles: Mapping[Role, float], layer: int) -> Needs:
    """What of a layer is asked for."""
    queries, keys, values = (frozenset((layer,) if role in roles else ()) for role in ROLES)
    return Needs(queries=queries, keys=keys, values=values)
