r"""What is minimised, and its gradient by the student's logits.

With s and t the logits of student and teacher at a position, T the temperature, u = s / T, v = t / T,
q = softmax(u), p = softmax(v), y the label and w the hard weight:

    loss = (1 - w) T^2 D(p, q) + w (logsumexp(s) - s_y),       averaged over the positions that count

    forward          D = KL(p || q) = sum p log(p / q)         dD/du = q - p
    reverse          D = KL(q || p) = sum q log(q / p)         dD/du = q (log(q / p) - D)
    jensen-shannon   D = b KL(p || m) + (1 - b) KL(q || m)     dD/du = (1 - b) q (log(q / m) - KL(q || m))
                     m = b p + (1 - b) q,  0 < b < 1

The factor T^2 keeps the size of the gradients when T changes (Hinton et al. 2015, section 2), so the gradient by s is
(1 - w) T dD/du + w (softmax(s) - [y]). The Jensen-Shannon gradient: by q it is
(1 - b) (log(q / m) + 1 - (b p + (1 - b) q) / m) = (1 - b) log(q / m), and softmax's Jacobian takes q times the
deviation from the mean under q. As b goes to 0 or 1, D / b goes to KL(p || q) and D / (1 - b) to KL(q || p).

A term whose probability is 0 counts 0, so ids that both heads exclude with a bias of minus infinity are fine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from polycompress.errors import InputError

Divergence = Literal["forward", "reverse", "jensen-shannon"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """The divergence and the weight of the labels; the equations stand at the head of this module."""

    divergence: Divergence = "forward"
    beta: float = 0.5
    """b of the Jensen-Shannon divergence, between 0 and 1, neither included; the others do not read it."""
    temperature: float = 1.0
    """T, above 0."""
    hard_weight: float = 0.0
    """w, the share of the cross-entropy with the labels, from 0 to 1."""

    def __post_init__(self) -> None:
        """Check the values, all at once."""
        faults = []
        if self.divergence not in get_args(Divergence):
            names = ", ".join(get_args(Divergence))
            faults.append(f"divergence={self.divergence!r} is unknown; use one of {names}")
        if self.divergence == "jensen-shannon" and not 0.0 < self.beta < 1.0:
            faults.append(
                f"beta={self.beta} has to lie between 0 and 1, neither included; "
                f'for the limits use divergence="forward" or "reverse"'
            )
        if not (self.temperature > 0.0 and math.isfinite(self.temperature)):
            faults.append(f"temperature={self.temperature} has to be above 0")
        if not 0.0 <= self.hard_weight <= 1.0:
            faults.append(f"hard_weight={self.hard_weight} has to lie between 0 and 1")
        if faults:
            raise InputError(f"linear_distillation: {'; '.join(faults)}")

    @property
    def soft_weight(self) -> float:
        """What the divergence is multiplied by: (1 - w) T^2."""
        return (1.0 - self.hard_weight) * self.temperature**2

    @property
    def soft_slope(self) -> float:
        """What the divergence's gradient by u is multiplied by to be the loss's gradient by s: (1 - w) T."""
        return (1.0 - self.hard_weight) * self.temperature
