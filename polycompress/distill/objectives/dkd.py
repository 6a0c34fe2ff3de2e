r"""Decoupled knowledge distillation: how sure the teacher is of the target, and how it sees all other classes.

With y the label, p_y the teacher's probability of it, p^ = p / (1 - p_y) over the other classes, and q likewise:

    target part      TCKD = KL((p_y, 1 - p_y) || (q_y, 1 - q_y))
    others' part     NCKD = KL(p^ || q^)
    loss             T^2 (alpha TCKD + beta NCKD)

KL(p || q) = TCKD + (1 - p_y) NCKD: plain distillation hears little of the other classes where the teacher is sure.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from polycompress.distill.objective import Objective
from polycompress.distill.objectives.divergences import check_temperature, kl
from polycompress.distill.objectives.inputs import counted, paired_logits, wide
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.errors import InputError

IGNORED: Final = -100
"""The label of what has none."""


def decoupled(student: Tensor, teacher: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Both parts at each position.

    Args:
        student: (N, C) logits, over the temperature.
        teacher: (N, C) logits, over the temperature; -inf excludes a class.
        labels: (N,) classes.

    Returns:
        TCKD and NCKD, (N,) each; NCKD is 0 where either model has no class left besides the label's.

    Reference:
        Zhao et al., "Decoupled Knowledge Distillation" (2022), equations 1 to 5.
    """
    own, other = _parts(student, labels), _parts(teacher, labels)
    target = kl(other[0], own[0])
    # All -inf stands for no other class at all.
    alone = own[2] | other[2]
    return target, kl(other[1], own[1]).masked_fill(alone, 0.0)


def dkd_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    valid: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 0.5,
    temperature: float = 1.0,
) -> Tensor:
    """The mean over labelled and valid positions.

    Args:
        student: (..., C) logits.
        teacher: (..., C) logits; get no gradient.
        labels: (...) classes, -100 where there is none.
        valid: (...) bool; None: everywhere.
        alpha: Of the target part.
        beta: Of the others' part.
        temperature: T, above 0.

    Returns:
        Scalar, fp32 or wider.

    Raises:
        InputError: A label is no class.

    Reference:
        Zhao et al., "Decoupled Knowledge Distillation" (2022), equation 7.
    """
    chosen = counted(student, teacher, valid) & (labels != IGNORED)
    wanted = labels[chosen]
    outside = (wanted < 0) | (wanted >= student.shape[-1])
    if bool(outside.any()):
        raise InputError(
            f"dkd: the label {int(wanted[outside][0])} is none of the {student.shape[-1]} classes; labels are 0 to "
            f"{student.shape[-1] - 1}, or {IGNORED} where there is none."
        )
    own, other = (wide(logits[chosen]) / temperature for logits in (student, teacher.detach()))
    target, others = decoupled(own, other, wanted)
    return temperature**2 * (alpha * target + beta * others).sum() / max(1, len(wanted))


class DKD(Objective):
    """Decoupled knowledge distillation of classes; needs labels.

    Reference:
        Zhao et al., "Decoupled Knowledge Distillation" (2022).
    """

    def __init__(self, alpha: float = 1.0, beta: float = 0.5, temperature: float = 1.0) -> None:
        """Weigh the parts.

        Args:
            alpha: Of the target part, at least 0.
            beta: Of the others' part, at least 0; the paper takes more, up to 10, for images.
            temperature: Above 0.

        Raises:
            InputError: Values are outside their ranges; all faults are named.
        """
        super().__init__()
        faults = check_temperature(temperature)
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not 0.0 <= value < math.inf:
                faults.append(f"{name}={value} has to be at least 0")
        if faults:
            raise InputError(f"dkd: {'; '.join(faults)}.")
        self.alpha, self.beta, self.temperature = alpha, beta, temperature
        self.student_needs = self.teacher_needs = Needs(logits=True)

    def forward(self, student: Outputs, teacher: Outputs, given: Given) -> Tensor:
        """The mean over labelled and valid positions.

        Raises:
            InputError: There are no labels, or they do not fit.
        """
        own, other = paired_logits("dkd", student, teacher)
        if given.labels is None:
            raise InputError(
                "dkd: there are no labels; train on a task's examples, or take a divergence instead."
            )
        return dkd_loss(
            own,
            other,
            given.labels,
            given.valid,
            alpha=self.alpha,
            beta=self.beta,
            temperature=self.temperature,
        )


def _parts(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Logarithms of (label, all others) (N, 2) and of the others among themselves (N, C); where there are none (N,)."""
    column = labels[:, None]
    others = logits.scatter(-1, column, -torch.inf)
    alone = (others == -torch.inf).all(dim=-1, keepdim=True)
    # A softmax over nothing is not a number, so it is taken of zeros there and left out.
    others = others.masked_fill(alone, 0.0)
    whole = torch.logsumexp(logits, dim=-1, keepdim=True)
    rest = torch.logsumexp(others, dim=-1, keepdim=True)
    pair = torch.cat(
        [logits.gather(-1, column) - whole, (rest - whole).masked_fill(alone, -torch.inf)], dim=-1
    )
    return pair, others - rest, alone.squeeze(-1)
