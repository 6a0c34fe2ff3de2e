r"""Temporally adaptive interpolated distillation: the target moves from the student to the teacher while it trains.

    p_t = softmax((1 - t) z_S + t z_T), z_S without gradient,    loss = - sum p_t log q

After step n (from 0) of N with the loss J_n:

    delta = (J_{n-1} - J_n) / (J_{n-1} + 1e-15)
    m     = beta m + (1 - beta) delta
    t     = min(t_end, max(t_start + (t_end - t_start) n / N, t + alpha sigmoid(m) (1 - t)))

The first loss is only kept, for there is none before it to compare with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from polycompress.distill.objective import Objective
from polycompress.distill.objectives.divergences import cross_entropy
from polycompress.distill.objectives.inputs import counted, paired_logits, wide
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.errors import InputError


@dataclass(frozen=True, kw_only=True, slots=True)
class TAIDSchedule:
    """How t moves."""

    steps: int
    """N, steps of the whole run."""
    t_start: float = 0.4
    """From 0; the paper takes 0.2 in two of three set-ups."""
    t_end: float = 1.0
    """From t_start to 1."""
    alpha: float = 5e-4
    """The most by which t moves in a step, at least 0."""
    beta: float = 0.99
    """Of the momentum, from 0, below 1."""
    adaptive: bool = True
    """Whether losses move t; otherwise it goes up evenly."""

    def __post_init__(self) -> None:
        """Check the values, all at once.

        Raises:
            InputError: Some are outside their ranges.
        """
        faults = []
        if self.steps < 1:
            faults.append(f"steps={self.steps} has to be at least 1")
        if not 0.0 <= self.t_start <= self.t_end <= 1.0:
            faults.append(f"t_start={self.t_start} and t_end={self.t_end} have to go up, from 0 to 1")
        if not 0.0 <= self.alpha < math.inf:
            faults.append(f"alpha={self.alpha} has to be at least 0")
        if not 0.0 <= self.beta < 1.0:
            faults.append(f"beta={self.beta} has to be at least 0 and below 1")
        if faults:
            raise InputError(f"taid: {'; '.join(faults)}.")

    def ramp(self, step: int) -> float:
        """The least t after a step: a straight line from t_start to t_end."""
        return self.t_start + (self.t_end - self.t_start) * min(1.0, step / self.steps)


@dataclass(frozen=True, kw_only=True, slots=True)
class TAIDState:
    """Where t is."""

    t: float
    previous_loss: float = math.nan
    """NaN: there was none."""
    momentum: float = 0.0
    step: int = 0
    """Steps that were done."""


def advance(state: TAIDState, loss: float, schedule: TAIDSchedule) -> TAIDState:
    """The state after a step; see the head of this module.

    Args:
        state: Before it.
        loss: J_n, the mean over the step. One that is not above 0, or not finite, says nothing (nothing counted, or a
            step went wrong) and is passed over: as the next step's divisor it would drown the momentum for thousands
            of steps.
        schedule: How t moves.

    Returns:
        The state; t never goes down, and is never below the ramp.

    Reference:
        Shing et al., "TAID" (2025), section 3 and algorithm 1.
    """
    is_usable = math.isfinite(loss) and loss > 0.0
    t, momentum = state.t, state.momentum
    if schedule.adaptive and is_usable and not math.isnan(state.previous_loss):
        fall = (state.previous_loss - loss) / (state.previous_loss + 1e-15)
        momentum = schedule.beta * momentum + (1.0 - schedule.beta) * fall
        # The hyperbolic tangent is a sigmoid that does not overflow.
        t += schedule.alpha * 0.5 * (1.0 + math.tanh(0.5 * momentum)) * (1.0 - t)
    t = min(schedule.t_end, max(schedule.ramp(state.step), t))
    kept = loss if is_usable else state.previous_loss
    return replace(state, t=t, momentum=momentum, previous_loss=kept, step=state.step + 1)


def interpolated(student: Tensor, teacher: Tensor, t: float) -> Tensor:
    """(1 - t) z_S + t z_T.

    Args:
        student: (..., C) logits; -inf is allowed.
        teacher: (..., C) logits.
        t: From 0, the student, to 1, the teacher.
    """
    if t <= 0.0 or t >= 1.0:
        return student if t <= 0.0 else teacher  # 0 times infinity is not a number
    return (1.0 - t) * student + t * teacher


def taid_loss(student: Tensor, teacher: Tensor, valid: Tensor | None = None, *, t: float) -> Tensor:
    """The mean over valid positions of the cross-entropy with the interpolated distribution.

    Args:
        student: (..., C) logits; as part of the target they get no gradient.
        teacher: (..., C) logits; get no gradient.
        valid: (...) bool; None: everywhere.
        t: From 0, where the gradient vanishes, to 1, the cross-entropy with the teacher.

    Returns:
        Scalar, fp32 or wider.

    Reference:
        Shing et al., "TAID: Temporally Adaptive Interpolated Distillation for Efficient Knowledge Transfer in Language
        Models" (2025), section 3.
    """
    chosen = counted(student, teacher, valid)
    own, other = wide(student[chosen]), wide(teacher.detach()[chosen])
    log_target = torch.log_softmax(interpolated(own.detach(), other, t), dim=-1)
    each = cross_entropy(torch.log_softmax(own, dim=-1), log_target)
    return each.sum() / max(1, len(each))


class TAID(Objective):
    """The loss and its t, which buffers keep, so that snapshots hold it."""

    def __init__(
        self,
        steps: int,
        t_start: float = 0.4,
        t_end: float = 1.0,
        alpha: float = 5e-4,
        beta: float = 0.99,
        adaptive: bool = True,
    ) -> None:
        """Start at t_start.

        Args:
            steps: See ``TAIDSchedule``, as of the others.
            t_start: From 0.
            t_end: At most 1.
            alpha: Of the adaptive move.
            beta: Of the momentum.
            adaptive: Whether losses move t.

        Raises:
            InputError: Values are outside their ranges; all faults are named.
        """
        super().__init__()
        self.schedule = TAIDSchedule(
            steps=steps, t_start=t_start, t_end=t_end, alpha=alpha, beta=beta, adaptive=adaptive
        )
        first = TAIDState(t=t_start)
        for name in ("t", "previous_loss", "momentum"):
            self.register_buffer(name, torch.tensor(getattr(first, name), dtype=torch.float64))
        self.register_buffer("step", torch.tensor(first.step))
        self.student_needs = self.teacher_needs = Needs(logits=True)

    @property
    def state(self) -> TAIDState:
        """What the buffers hold."""
        return TAIDState(
            t=float(self.t),
            previous_loss=float(self.previous_loss),
            momentum=float(self.momentum),
            step=int(self.step),
        )

    def forward(self, student: Outputs, teacher: Outputs, given: Given) -> Tensor:
        """The mean over valid positions, at the present t."""
        own, other = paired_logits("taid", student, teacher)
        return taid_loss(own, other, given.valid, t=float(self.t))

    def after_step(self, loss: float) -> None:
        """Move t, in training alone."""
        if not self.training:
            return
        found = advance(self.state, loss, self.schedule)
        for name in ("t", "previous_loss", "momentum", "step"):
            getattr(self, name).fill_(getattr(found, name))
