"""Learning-rate schedules: from a step to the share of the peak rate that it trains with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, Literal

from polycompress.training.config import ScheduleConfig

ScheduleName = Literal["linear", "cosine", "constant", "warmup-stable-decay"]
Shape = Callable[[float, float], float]
"""From the progress through the decay, 0 to 1, and the share it ends at, to a share."""


def linear_decay(progress: float, final_share: float) -> float:
    """A straight line from 1 to the final share."""
    return 1 + progress * (final_share - 1)


def cosine_decay(progress: float, final_share: float) -> float:
    """Half a cosine from 1 to the final share.

    Reference:
        Loshchilov and Hutter, "SGDR" (ICLR 2017), equation 5, one period, https://arxiv.org/abs/1608.03983.
    """
    return final_share + (1 - final_share) * (1 + math.cos(math.pi * progress)) / 2


def no_decay(progress: float, final_share: float) -> float:
    """Always 1."""
    return 1.0


DECAYS: Final[Mapping[str, Shape]] = {
    "linear": linear_decay,
    "cosine": cosine_decay,
    "constant": no_decay,
    "warmup-stable-decay": linear_decay,
}
"""Of each schedule, how it falls. What differs besides is when the fall begins."""


def rate_share(schedule: ScheduleConfig, step: int, steps: int) -> float:
    """The share of the peak learning rate at a step.

    The rate climbs linearly through the warm-up, whose first step already trains, and is at its peak right after it.
    ``linear`` and ``cosine`` then fall through all the rest, ``warmup-stable-decay`` only through its last
    ``decay_steps``, and ``constant`` not at all. The last step is one step short of the final share, so that a final
    share of 0 wastes none.

    Args:
        schedule: Which, and its warm-up.
        step: Optimiser steps done before this one, 0 to ``steps - 1``.
        steps: Of the whole run.

    Returns:
        0 to 1.

    Reference:
        Hu et al., "MiniCPM" (2024), section 4.2, for warmup-stable-decay, https://arxiv.org/abs/2404.06395.
    """
    if step < schedule.warmup_steps:
        return (step + 1) / (schedule.warmup_steps + 1)
    begin = schedule.warmup_steps
    if schedule.kind == "warmup-stable-decay":
        begin = max(begin, steps - schedule.decay_steps)
    progress = (step - begin) / max(1, steps - begin)
    return DECAYS[schedule.kind](min(max(progress, 0.0), 1.0), schedule.final_share)
