"""Distillation as steps see it: batches to the arguments of its module, losses to what objectives are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from polycompress.distill.objectives.unequal import UnequalLogits
from polycompress.training.batches import Batch
from polycompress.training.devices import Devices
from polycompress.training.distilling import Distillation
from polycompress.training.distilling_inputs import Inputs, moved
from polycompress.training.objective import Prepared


class DistillationTask:
    """Batches to the module's arguments, and steps to what objectives are told."""

    def __init__(
        self,
        distillation: Distillation,
        module: nn.Module,
        inputs: Inputs,
        *,
        device: torch.device,
        is_sparse: bool,
    ) -> None:
        """Join what belongs together.

        Args:
            distillation: The losses.
            module: The same, perhaps wrapped.
            inputs: What batches become.
            device: Where the module is.
            is_sparse: Whether the student's table has to be told which rows will be read.
        """
        self.distillation, self.module, self.inputs = distillation, module, inputs
        self.device, self.is_sparse = device, is_sparse
        self._sums = [0.0] * len(distillation.names)
        self._lost: dict[str, float] = {}
        self._steps = 0

    def with_inputs(self, inputs: Inputs) -> DistillationTask:
        """The same for other batches, such as those of held-out text."""
        return DistillationTask(
            self.distillation, self.module, inputs, device=self.device, is_sparse=self.is_sparse
        )

    def weight(self, batch: Batch) -> int:
        """Over how many things a batch's loss is a mean."""
        return self.inputs.weight(batch)

    def prepare(self, batch: Batch) -> Prepared:
        """Arguments of the module, and the rows of the student's table that it will read."""
        inputs, told = self.inputs(batch)
        rows = torch.unique(batch.input_ids).to(self.device) if self.is_sparse else None
        arguments: dict[str, Any] = {
            "inputs": moved(inputs, self.device),
            "weight": float(self.weight(batch)),
            **moved(told, self.device),
        }
        return Prepared(arguments, rows)

    def after_step(self, devices: Devices) -> None:
        """Tell each objective its mean loss over the step; all processes have to."""
        own = self.distillation
        *sums, weighed = devices.total([*own.measured, own.weighed])
        own.measured, own.weighed = [0.0] * len(sums), 0.0
        for number, total in enumerate(sums):
            loss = total / max(weighed, 1.0)
            own.objectives[number].after_step(loss)
            self._sums[number] += loss
        for objective in own.objectives:
            if isinstance(objective, UnequalLogits):
                lost = objective.take_lost_mass()
                for who, mass in zip(lost, devices.total(list(lost.values())), strict=True):
                    self._lost[who] = self._lost.get(who, 0.0) + mass / devices.world_size
        self._steps += 1

    def figures(self) -> dict[str, float]:
        """The mean since the last call of each objective's loss, and of mass that is lost, for the log."""
        means = {
            f"loss_{name}": total / max(1, self._steps)
            for name, total in zip(self.distillation.names, self._sums, strict=True)
        }
        means |= {f"lost_mass_{who}": total / max(1, self._steps) for who, total in self._lost.items()}
        self._sums, self._lost, self._steps = [0.0] * len(self._sums), {}, 0
        return means

    def state_dict(self) -> dict[str, Any]:
        """Sums since ``figures`` was called, for a snapshot."""
        return {"sums": list(self._sums), "lost": dict(self._lost), "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up sums of an earlier process, so that the log does not tell that there were two."""
        self._sums, self._lost = list(state["sums"]), dict(state["lost"])
        self._steps = state["steps"]
