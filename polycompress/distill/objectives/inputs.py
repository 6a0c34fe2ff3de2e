"""What objectives check and convert before they compare: pairs of layers, precision, logits and where they count."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from polycompress.distill.outputs import Outputs
from polycompress.errors import InputError

Pairs = tuple[tuple[int, int], ...]
"""Numbers of hidden states, or of layers: the student's and the teacher's."""


def check_pairs(name: str, pairs: Iterable[tuple[int, int]]) -> Pairs:
    """The pairs as a tuple.

    Args:
        name: Of the objective, for messages.
        pairs: (student, teacher).

    Raises:
        InputError: There is none, one is there twice, or a number is below 0.
    """
    found = tuple((int(own), int(other)) for own, other in pairs)
    faults = []
    if not found:
        faults.append("no pair of layers is given; name at least one as (student, teacher)")
    if len(set(found)) < len(found):
        faults.append("a pair of layers is named twice; name each once")
    if below := [pair for pair in found if min(pair) < 0]:
        faults.append(f"the pair {below[0]} has a number below 0; layers count from 0")
    if faults:
        raise InputError(f"{name}: {'; '.join(faults)}.")
    return found


def wide(values: Tensor) -> Tensor:
    """The same in fp32; as it is where it is fp32 or wider already."""
    return values.float() if values.dtype.itemsize < 4 else values


def paired_logits(name: str, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
    """The logits of both.

    Args:
        name: Of the objective, for messages.
        student: What it said.
        teacher: What it said.

    Returns:
        (..., C) each, the teacher's without gradients.

    Raises:
        InputError: A model gave none, or their shapes differ.
    """
    for who, outputs in (("student", student), ("teacher", teacher)):
        if outputs.logits is None:
            raise InputError(
                f"{name}: the {who} gives no logits; give it a head, or leave this objective out."
            )
    assert student.logits is not None and teacher.logits is not None
    if student.logits.shape != teacher.logits.shape:
        raise InputError(
            f"{name}: the student's logits have the shape {tuple(student.logits.shape)}, the teacher's "
            f"{tuple(teacher.logits.shape)}; both have to score the same classes. For vocabularies that differ use "
            "the objective for unequal vocabularies."
        )
    return student.logits, teacher.logits.detach()


def counted(student: Tensor, teacher: Tensor, valid: Tensor | None) -> Tensor:
    """Where logits count: at valid positions at which both models have a class left.

    Args:
        student: (..., C) logits; -inf excludes a class.
        teacher: (..., C) logits.
        valid: (...) bool; None: everywhere.

    Returns:
        (...) bool. Positions are picked out with it rather than weighted by 0, for what stands at the others may be
        infinite or not a number.
    """
    # "Not equal" lets NaN through: a model that broke has to be seen.
    left = (student != -torch.inf).any(dim=-1) & (teacher != -torch.inf).any(dim=-1)
    return left if valid is None else left & valid
