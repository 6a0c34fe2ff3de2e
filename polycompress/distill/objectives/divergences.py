r"""Divergences between the distributions of a teacher, p, and a student, q, over classes.

    forward           KL(p || q) = sum p log(p / q)
    cross-entropy     - sum p log q = KL(p || q) + H(p)
    reverse           KL(q || p)
    jensen-shannon    b KL(p || m) + (1 - b) KL(q || m),      m = b p + (1 - b) q
    skew-forward      KL(p || a p + (1 - a) q)
    skew-reverse      KL(q || a q + (1 - a) p)
    total-variation   sum |p - q| / 2
    adaptive          w KL(p || q) + (1 - w) KL(q || p),      w = g_head / (g_head + g_tail)

g sums |p - q| over the teacher's head (its most probable classes, up to a share of the mass) and over the tail.

A class whose probability is 0 counts 0, so classes that both exclude with logits of minus infinity are fine. Where one
alone excludes a class, the forward (reverse) divergence is infinite if the other is the teacher (the student), as it is
by definition; Jensen-Shannon, skewed divergences and total variation stay finite.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from polycompress.distill.objective import Objective
from polycompress.distill.objectives.inputs import counted, paired_logits, wide
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.errors import InputError

Kind = Literal[
    "forward",
    "cross-entropy",
    "reverse",
    "jensen-shannon",
    "skew-forward",
    "skew-reverse",
    "total-variation",
    "adaptive",
]


def kl(log_a: Tensor, log_b: Tensor) -> Tensor:
    """KL(a || b) = sum a (log a - log b).

    Args:
        log_a: (..., C) logarithms of probabilities; -inf is allowed.
        log_b: (..., C) likewise.

    Returns:
        (...), from 0 up to rounding; infinite where b excludes what a does not.
    """
    a = log_a.exp()
    # What is 0 is left out before the product: 0 times infinity is not a number, nor is its gradient.
    there = a != 0.0
    return (a * (torch.where(there, log_a, 0.0) - torch.where(there, log_b, 0.0))).sum(dim=-1)


def cross_entropy(log_q: Tensor, log_p: Tensor) -> Tensor:
    """- sum p log q: (..., C) twice to (...); the entropy of p where q = p."""
    p = log_p.exp()
    return -(p * torch.where(p != 0.0, log_q, 0.0)).sum(dim=-1)


def jensen_shannon(log_q: Tensor, log_p: Tensor, beta: float = 0.5) -> Tensor:
    """The generalised Jensen-Shannon divergence: (..., C) twice to (...).

    Args:
        log_q: The student's.
        log_p: The teacher's.
        beta: Between 0 and 1, neither included; the share of the teacher in the mixture and in the sum.

    Reference:
        Agarwal et al., "On-policy distillation of language models" (2024), equation 1.
    """
    log_m = _log_mixture(log_p, log_q, beta)
    return beta * kl(log_p, log_m) + (1.0 - beta) * kl(log_q, log_m)


def skew_kl(log_a: Tensor, log_b: Tensor, skew: float = 0.1) -> Tensor:
    """KL(a || skew a + (1 - skew) b): (..., C) twice to (...), at most -log(skew).

    Reference:
        Ko et al., "DistiLLM" (2024), equation 3; forward with the teacher as a, reverse with the student as a.
    """
    return kl(log_a, _log_mixture(log_a, log_b, skew))


def total_variation(log_q: Tensor, log_p: Tensor) -> Tensor:
    """Half of sum |p - q|, from 0 to 1: (..., C) twice to (...)."""
    return 0.5 * (log_p.exp() - log_q.exp()).abs().sum(dim=-1)


def head_share(log_q: Tensor, log_p: Tensor, head_mass: float = 0.5) -> Tensor:
    """Which share of the gap between p and q lies in the teacher's head, the weight of the forward part.

    Args:
        log_q: (..., C) the student's.
        log_p: (..., C) the teacher's.
        head_mass: The head is the fewest of the teacher's most probable classes that reach this mass.

    Returns:
        (...) from 0 to 1, without gradients; a half where there is no gap.
    """
    p, order = log_p.detach().exp().sort(dim=-1, descending=True, stable=True)
    gaps = (p - log_q.detach().exp().gather(-1, order)).abs()
    mass_before = functional.pad(p.cumsum(dim=-1)[..., :-1], (1, 0))
    head, total = (gaps * (mass_before < head_mass)).sum(dim=-1), gaps.sum(dim=-1)
    return torch.where(total > 0.0, head / total.clamp(min=torch.finfo(total.dtype).tiny), 0.5)


def adaptive_kl(log_q: Tensor, log_p: Tensor, head_mass: float = 0.5) -> Tensor:
    """Forward and reverse KL, weighed by where p and q are apart: (..., C) twice to (...).

    Reference:
        Wu et al., "Rethinking Kullback-Leibler divergence in knowledge distillation for large language models" (2025).
    """
    share = head_share(log_q, log_p, head_mass)
    return share * kl(log_p, log_q) + (1.0 - share) * kl(log_q, log_p)


def divergence(
    log_q: Tensor, log_p: Tensor, kind: Kind, *, beta: float = 0.5, skew: float = 0.1, head_mass: float = 0.5
) -> Tensor:
    """The divergence of that kind at each position; see the head of this module.

    Args:
        log_q: (..., C) logarithms of the student's probabilities.
        log_p: (..., C) the teacher's.
        kind: Which.
        beta: b of jensen-shannon.
        skew: a of the skewed ones.
        head_mass: Of adaptive.

    Returns:
        (...)
    """
    match kind:
        case "forward":
            return kl(log_p, log_q)
        case "cross-entropy":
            return cross_entropy(log_q, log_p)
        case "reverse":
            return kl(log_q, log_p)
        case "jensen-shannon":
            return jensen_shannon(log_q, log_p, beta)
        case "skew-forward":
            return skew_kl(log_p, log_q, skew)
        case "skew-reverse":
            return skew_kl(log_q, log_p, skew)
        case "total-variation":
            return total_variation(log_q, log_p)
        case "adaptive":
            return adaptive_kl(log_q, log_p, head_mass)


def divergence_loss(
    student: Tensor,
    teacher: Tensor,
    valid: Tensor | None = None,
    *,
    kind: Kind = "forward",
    temperature: float = 1.0,
    scale_by_temperature: bool = True,
    beta: float = 0.5,
    skew: float = 0.1,
    head_mass: float = 0.5,
) -> Tensor:
    """The mean over valid positions of a divergence between softened distributions.

    Args:
        student: (..., C) logits.
        teacher: (..., C) logits; get no gradient.
        valid: (...) bool; None: everywhere. A position that has no class left in either never counts.
        kind: Which divergence.
        temperature: T, above 0; both logits are divided by it.
        scale_by_temperature: Whether to multiply by T^2, which keeps the size of gradients when T changes.
        beta: See ``divergence``.
        skew: See ``divergence``.
        head_mass: See ``divergence``.

    Returns:
        Scalar, fp32 or wider.

    Reference:
        Hinton et al., "Distilling the knowledge in a neural network" (2015), section 2.
    """
    chosen = counted(student, teacher, valid)
    log_q = torch.log_softmax(wide(student[chosen]) / temperature, dim=-1)
    log_p = torch.log_softmax(wide(teacher.detach()[chosen]) / temperature, dim=-1)
    each = divergence(log_q, log_p, kind, beta=beta, skew=skew, head_mass=head_mass)
    return (temperature**2 if scale_by_temperature else 1.0) * each.sum() / max(1, len(each))


class Divergence(Objective):
    """A divergence between the classes' distributions of teacher and student.

    BiStil's L_ce is the cross-entropy at temperature 2 that is not scaled by it.
    """

    def __init__(
        self,
        kind: Kind = "forward",
        temperature: float = 1.0,
        scale_by_temperature: bool = True,
        *,
        beta: float = 0.5,
        skew: float = 0.1,
        head_mass: float = 0.5,
    ) -> None:
        """Say which; see ``divergence_loss``.

        Args:
            kind: Which divergence.
            temperature: Above 0.
            scale_by_temperature: Whether to multiply by its square.
            beta: Between 0 and 1, neither included.
            skew: Between 0 and 1, neither included.
            head_mass: Above 0, at most 1.

        Raises:
            InputError: Values are outside their ranges; all faults are named.
        """
        super().__init__()
        faults = check_temperature(temperature)
        if kind not in get_args(Kind):
            faults.append(f"kind={kind!r} is unknown; use one of {', '.join(get_args(Kind))}")
        for name, value in (("beta", beta), ("skew", skew)):
            if not 0.0 < value < 1.0:
                faults.append(f"{name}={value} has to lie between 0 and 1, neither included")
        if not 0.0 < head_mass <= 1.0:
            faults.append(f"head_mass={head_mass} has to lie above 0 and be at most 1")
        if faults:
            raise InputError(f"divergence: {'; '.join(faults)}.")
        self.kind, self.temperature, self.scale_by_temperature = kind, temperature, scale_by_temperature
        self.beta, self.skew, self.head_mass = beta, skew, head_mass
        self.student_needs = self.teacher_needs = Needs(logits=True)

    def forward(self, student: Outputs, teacher: Outputs, given: Given) -> Tensor:
        """The mean over valid positions."""
        own, other = paired_logits("divergence", student, teacher)
        return divergence_loss(
            own,
            other,
            given.valid,
            kind=self.kind,
            temperature=self.temperature,
            scale_by_temperature=self.scale_by_temperature,
            beta=self.beta,
            skew=self.skew,
            head_mass=self.head_mass,
        )


def check_temperature(temperature: float) -> list[str]:
    """What is wrong with a temperature."""
    if temperature > 0.0 and math.isfinite(temperature):
        return []
    return [f"temperature={temperature} has to be above 0"]


def _log_mixture(log_a: Tensor, log_b: Tensor, share: float) -> Tensor:
    """log(share a + (1 - share) b)."""
    mixture = share * log_a.exp() + (1.0 - share) * log_b.exp()
    # Not logaddexp: of two -inf its gradient is not a number. The floor is far below what has any weight.
    return mixture.clamp(min=torch.finfo(mixture.dtype).tiny).log()
