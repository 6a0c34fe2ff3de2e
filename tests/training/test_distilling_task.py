"""What objectives are told after a step."""

from __future__ import annotations

import torch
from torch import Tensor

from polycompress.distill.objective import Objective
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.training.devices import Devices
from polycompress.training.distilling import Distillation, Weighted
from polycompress.training.distilling_inputs import TextInputs
from polycompress.training.distilling_task import DistillationTask
from tests.training.test_distilling import inputs, model_of


def test_objectives_are_told_their_own_loss_over_the_whole_step() -> None:
    class Listening(Objective):
        student_needs = teacher_needs = Needs(hidden=frozenset({2}))

        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor, self.told = factor, []  # type: ignore[var-annotated]

        def forward(self, student: Outputs, teacher: Outputs, given: Given) -> Tensor:
            return self.factor * student.hidden[2].square().mean()

        def after_step(self, loss: float) -> None:
            self.told.append(loss)

    losses = [
        Weighted(name="one", objective=Listening(1.0)),
        Weighted(name="two", objective=Listening(3.0), weight=0.5),
    ]
    distillation = Distillation(model_of(0), model_of(1), losses)
    task = DistillationTask(
        distillation, distillation, TextInputs(), device=torch.device("cpu"), is_sparse=False
    )
    devices = Devices(device="cpu")
    distillation.train()
    distillation.student.eval()
    first = distillation(inputs(), 10.0).item()
    part = {name: tensor[:1] for name, tensor in inputs().items()}
    distillation(part, 30.0)
    task.after_step(devices)
    one, two = (objective.told for objective in distillation.objectives)
    assert len(one) == len(two) == 1
    torch.testing.assert_close(two[0], 3 * one[0])
    torch.testing.assert_close(task.figures(), {"loss_one": one[0], "loss_two": two[0]})
    distillation(inputs(), 10.0)
    task.after_step(devices)
    torch.testing.assert_close(one[1] + 0.5 * two[1], first)
    distillation.eval()
    distillation(inputs(), 1.0)
    assert distillation.weighed == 0.0, "looks at held-out text do not count"
