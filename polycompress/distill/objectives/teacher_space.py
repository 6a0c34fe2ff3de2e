"""One space for the hidden states of several teachers, so that their average means something."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from polycompress.distill.objectives.inputs import wide
from polycompress.errors import InputError


def align_teachers(samples: Sequence[Tensor], width: int) -> list[Tensor]:
    """Projections of several teachers' states to one space, where they lie as near to each other as turning allows.

    The first teacher's is that of its strongest directions (the first right singular vectors, without centring); each
    other's is the turned one whose states correlate most with those, scaled to their size (orthogonal Procrustes, the
    best turn for squared distance where the teacher is as wide as the space).

    Args:
        samples: (N, d_t) states of each teacher at the same N tokens or words, N at least ``width``.
        width: Of the space, at most each d_t.

    Returns:
        (d_t, width) of each teacher, fp32 or wider; columns are orthogonal, of length 1 for the first teacher.

    Raises:
        InputError: The samples do not fit each other, or the width.

    Reference:
        Schönemann, "A generalized solution of the orthogonal Procrustes problem" (1966).
    """
    faults = []
    if len({len(each) for each in samples}) != 1:
        faults.append(f"samples of {[len(each) for each in samples]} states are not of the same tokens")
    elif len(samples[0]) < width:
        faults.append(f"{len(samples[0])} samples are too few for {width} directions")
    if not samples or not 1 <= width <= min(each.shape[1] for each in samples):
        faults.append(f"a space of {width} units is not between 1 and the width of the narrowest teacher")
    if faults:
        raise InputError(f"teacher_space: {'; '.join(faults)}.")
    states_of = [wide(each.detach()) for each in samples]
    first = torch.linalg.svd(states_of[0], full_matrices=False)[2][:width].transpose(0, 1)
    target = states_of[0] @ first
    projections = [first]
    for states in states_of[1:]:
        left, sizes, right = torch.linalg.svd(states.transpose(0, 1) @ target, full_matrices=False)
        turn = left @ right
        scale = sizes.sum() / (states @ turn).square().sum().clamp(min=torch.finfo(states.dtype).tiny)
        projections.append(scale * turn)
    return projections
