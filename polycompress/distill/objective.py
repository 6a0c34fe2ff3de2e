"""What every objective of distillation is: a module that compares what two models said about the same batch."""

from __future__ import annotations

from torch import Tensor, nn

from polycompress.distill.outputs import Given, Needs, Outputs


class Objective(nn.Module):  # type: ignore[misc]
    """A loss between a student and a teacher.

    Gradients go to the student, and to parameters of the objective's own, such as projections; never to the teacher.
    The result is a mean over what counts, in fp32, which padding does not change; 0, with gradients, where nothing
    counts. State that training changes is in buffers, so that snapshots hold it.
    """

    student_needs: Needs
    teacher_needs: Needs

    def forward(self, student: Outputs, teacher: Outputs, given: Given) -> Tensor:
        """The loss, a scalar."""
        raise NotImplementedError

    def after_step(self, loss: float) -> None:
        """Told this objective's own mean loss over a whole step of training, the same on all processes."""


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of values where a mask is set, in fp32 or wider; 0, with gradients, where it is set nowhere.

    Args:
        values: (...)
        mask: (...) bool, or of a shape that broadcasts to that of the values.
    """
    values = values.float() if values.dtype.itemsize < 4 else values
    mask = mask.expand_as(values)
    # Not a product: what stands at masked places may be infinite.
    return values.masked_fill(~mask, 0.0).sum() / mask.sum().clamp(min=1)
