"""Gold labels, where a teacher's answers are to be mixed with them."""

from __future__ import annotations

from typing import Final

from torch import Tensor
from torch.nn import functional

from polycompress.distill.objective import Objective
from polycompress.distill.objectives.inputs import wide
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.errors import InputError

IGNORED: Final = -100


def gold_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean of - log q(label) over the labels that there are; 0, with gradients, where there is none.

    Args:
        logits: (..., C)
        labels: (...) classes, -100 where there is none.

    Returns:
        Scalar, fp32 or wider.
    """
    chosen = labels != IGNORED
    each = functional.cross_entropy(wide(logits[chosen]), labels[chosen], reduction="sum")
    loss: Tensor = each / max(1, int(chosen.sum()))
    return loss


class Gold(Objective):
    """Cross-entropy with gold labels: the student alone, no teacher."""

    student_needs = Needs(logits=True)
    teacher_needs = Needs()

    def forward(self, student: Outputs, teacher: Outputs, given: Given) -> Tensor:
        """The mean over labels."""
        if student.logits is None or given.labels is None:
            raise InputError("gold: there are no logits or no labels; give the student a head, and a task.")
        return gold_cross_entropy(student.logits, given.labels)
