"""Logit distillation where student and teacher have different vocabularies over the same tokens.

Trimming takes pieces away, OFA adds some. With P the pieces that both have, p_T the teacher's and q_S the student's
distribution over their own pieces:

    p = softmax(z_T[P] / tau)      q = softmax(z_S[P] / tau)      loss = tau^2 KL(p || q)

that is, both are restricted to P and renormalised. What is lost by this is reported: the mass that the teacher gave to
pieces which the student lacks, and the mass that the student gives to pieces which are new.

Positions have to match: both models see the same text cut at the same places. Where they do not, compare words (see
``multi_teacher``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polycompress.distill.objective import Objective
from polycompress.distill.objectives.divergences import divergence_loss
from polycompress.distill.objectives.inputs import wide
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class VocabularyMap:
    """Which pieces two vocabularies share."""

    teacher_ids: NDArray[np.int64]
    """(P,) in the order of the student's ids."""
    student_ids: NDArray[np.int64]
    """(P,) going up."""
    teacher_size: int
    student_size: int

    @classmethod
    def by_string(
        cls,
        teacher_tokens: Sequence[str | None],
        student_tokens: Sequence[str | None],
        *,
        teacher_roles: Mapping[str, str] | None = None,
        student_roles: Mapping[str, str] | None = None,
    ) -> VocabularyMap:
        """Match pieces by what they are written as, and special tokens by what they are for.

        Args:
            teacher_tokens: (V_T,) pieces by id; None for an id that stands for nothing, such as a table's padding.
            student_tokens: (V_S,)
            teacher_roles: Special tokens by role, such as ``{"mask": "<mask>"}``. They match a token of the same role,
                however it is written, and never one that is merely written alike.
            student_roles: Such as ``{"mask": "[MASK]"}``.

        Raises:
            InputError: A piece stands for two ids, a special token is not in its vocabulary or has two roles, or
                nothing is shared.
        """
        teacher = _pieces(teacher_tokens, teacher_roles or {}, "teacher")
        student = _pieces(student_tokens, student_roles or {}, "student")
        pairs = [(teacher[piece], own) for piece, own in student.items() if piece in teacher]
        if not pairs:
            raise InputError(
                "unequal: the vocabularies share no piece. Do both write the beginning of a word in the same way ('▁', "
                "'Ġ' or '##')?"
            )
        pairs.sort(key=lambda pair: pair[1])
        ids = np.array(pairs, dtype=np.int64)
        return cls(ids[:, 0].copy(), ids[:, 1].copy(), len(teacher_tokens), len(student_tokens))


def unequal_loss(
    student: Tensor,
    teacher: Tensor,
    student_ids: Tensor,
    teacher_ids: Tensor,
    valid: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """The mean over valid positions of the KL divergence over shared pieces, times the square of the temperature.

    Args:
        student: (..., V_S) logits.
        teacher: (..., V_T) logits; get no gradient.
        student_ids: (P,)
        teacher_ids: (P,) the same pieces in the same order.
        valid: (...) bool; None: everywhere. A position at which a model rules out every shared piece never counts.
        temperature: tau, above 0.

    Returns:
        A scalar, fp32 or wider.
    """
    return divergence_loss(
        student.index_select(-1, student_ids),
        teacher.index_select(-1, teacher_ids),
        valid,
        temperature=temperature,
    )


def mass_outside(logits: Tensor, ids: Tensor) -> Tensor:
    """The probability that each position gives to other than some pieces, at temperature 1.

    Args:
        logits: (N, V)
        ids: (P,) distinct.

    Returns:
        (N,) fp32 or wider, without gradients; exactly 0 where all pieces are named.
    """
    logits = wide(logits.detach())
    outside = torch.ones(logits.shape[1], dtype=torch.bool, device=logits.device)
    outside[ids] = False
    if not bool(outside.any()):
        return logits.new_zeros(len(logits))
    return (logits[:, outside].logsumexp(dim=1) - logits.logsumexp(dim=1)).exp()


class UnequalLogits(Objective):
    """``unequal_loss`` of two models; in training it keeps count of the mass that is lost."""

    def __init__(self, vocabularies: VocabularyMap, *, temperature: float = 1.0) -> None:
        """Say what is shared.

        Args:
            vocabularies: Which pieces.
            temperature: Both models' logits are divided by it.

        Raises:
            InputError: The temperature is not above 0.
        """
        super().__init__()
        if not 0.0 < temperature < float("inf"):
            raise InputError(f"unequal: temperature={temperature} has to be above 0.")
        self.temperature = temperature
        self.sizes = (vocabularies.student_size, vocabularies.teacher_size)
        # What a run is made with, not what training changes: not in snapshots.
        self.register_buffer("student_ids", torch.from_numpy(vocabularies.student_ids), persistent=False)
        self.register_buffer("teacher_ids", torch.from_numpy(vocabularies.teacher_ids), persistent=False)
        self._lost: Tensor | None = None
        self.student_needs = self.teacher_needs = Needs(logits=True)

    def forward(self, student: Outputs, teacher: Outputs, given: Given) -> Tensor:
        """The loss, a scalar."""
        own, theirs = self._logits(student, teacher)
        counts = given.valid
        if counts is None and own.shape[:-1] == given.mask.shape:
            counts = given.mask
        if counts is not None:
            own, theirs = own[counts], theirs[counts]
        own, theirs = own.reshape(-1, self.sizes[0]), theirs.reshape(-1, self.sizes[1])
        if self.training:
            self._count(own, theirs)
        return unequal_loss(own, theirs, self.student_ids, self.teacher_ids, temperature=self.temperature)

    def take_lost_mass(self) -> dict[str, float]:
        """What was lost at the positions since the last call.

        Returns:
            ``teacher``: the mean mass that it gave to pieces which the student lacks; ``student``: the mean mass that
            it gave to pieces which the teacher lacks.
        """
        lost, new, positions = (0.0, 0.0, 0.0) if self._lost is None else self._lost.tolist()
        self._lost = None
        return {"teacher": lost / max(1.0, positions), "student": new / max(1.0, positions)}

    def _count(self, own: Tensor, theirs: Tensor) -> None:
        lost, new = mass_outside(theirs, self.teacher_ids), mass_outside(own, self.student_ids)
        sums = torch.stack([lost.double().sum(), new.double().sum(), lost.new_tensor(len(lost)).double()])
        self._lost = sums if self._lost is None else self._lost + sums

    def _logits(self, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
        own, theirs = student.logits, teacher.logits
        if own is None or theirs is None:
            who = "student" if own is None else "teacher"
            raise InputError(
                f"unequal: the {who} gives no logits. Take a model with a head over its vocabulary."
            )
        sizes = (own.shape[-1], theirs.shape[-1])
        if sizes != self.sizes or own.shape[:-1] != theirs.shape[:-1]:
            raise InputError(
                f"unequal: logits of shape {tuple(own.shape)} (student) and {tuple(theirs.shape)} (teacher) do not fit "
                f"vocabularies of {self.sizes[0]} and {self.sizes[1]} pieces over the same positions. Was the map made "
                "of these models' tokens, padding of their tables included (None)?"
            )
        return own, theirs


def _pieces(tokens: Sequence[str | None], roles: Mapping[str, str], who: str) -> dict[tuple[str, str], int]:
    """Id by what a token is known as: its role, or how it is written."""
    counts = Counter(token for token in tokens if token is not None)
    faults = [
        f"the {who}'s piece {token!r} stands for {count} ids" for token, count in counts.items() if count > 1
    ]
    of_token = {token: role for role, token in roles.items()}
    if len(of_token) < len(roles):
        shared = [token for token, count in Counter(roles.values()).items() if count > 1]
        faults.append(f"the {who}'s special token {shared[0]!r} has two roles")
    faults += [
        f"the {who}'s {role} token {token!r} is not in its vocabulary"
        for role, token in roles.items()
        if token not in counts
    ]
    if faults:
        more = f" (and {len(faults) - 5} more)" if len(faults) > 5 else ""
        raise InputError(f"unequal: {'; '.join(faults[:5])}{more}. Name each piece once.")
    return {
        ("role", of_token[token]) if token in of_token else ("piece", token): number
        for number, token in enumerate(tokens)
        if token is not None
    }
