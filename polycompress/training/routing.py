"""What a student with experts learns of its router besides what its teacher says, and who watches its experts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from polycompress.distill.objective import Objective
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.moe.config import MoeConfig
from polycompress.moe.context import Record, Routing, RoutingContext
from polycompress.moe.router import balancing_loss, supervision_loss
from polycompress.training.devices import Devices

logger = logging.getLogger(__name__)

IDLE: Final = "idle_experts"


class RoutingLoss(Objective):
    """A loss on what the routers of a student did with a batch, the mean over its layers with experts.

    It is 0 in evaluation, so that held-out losses are those of distillation alone.
    """

    def __init__(self, context: RoutingContext) -> None:
        """Have the routers keep what they do.

        Args:
            context: Of the student.
        """
        super().__init__()
        self.student_needs = self.teacher_needs = Needs()
        self._context = context
        context.collects = True

    def forward(self, student: Outputs, teacher: Outputs, given: Given) -> Tensor:
        """The loss, a scalar."""
        routing = self._context.current
        if not self.training or routing is None:
            return torch.zeros((), device=given.mask.device)
        return torch.stack([self.of_layer(record, routing) for record in routing.records.values()]).mean()

    def of_layer(self, record: Record, routing: Routing) -> Tensor:
        """The same of one layer; its tokens are those without padding."""
        raise NotImplementedError


class RouterSupervision(RoutingLoss):
    """How improbable the routers find the experts of each token's family; see ``moe.router.supervision_loss``."""

    def of_layer(self, record: Record, routing: Routing) -> Tensor:
        """The loss of one layer."""
        assert routing.families is not None, "languages are given with every batch"
        return supervision_loss(record.probabilities, routing.families)


class LoadBalancing(RoutingLoss):
    """How unevenly experts are used; see ``moe.router.balancing_loss``."""

    def of_layer(self, record: Record, routing: Routing) -> Tensor:
        """The loss of one layer."""
        return balancing_loss(record.probabilities, record.indices)


class Forcing:
    """A companion that says with what probability a token is forced to an expert of its family."""

    def __init__(self, context: RoutingContext, probability: Callable[[int], float]) -> None:
        """Join what belongs together.

        Args:
            context: Of the student.
            probability: From the number of steps done.
        """
        self._context, self._probability = context, probability

    def before_step(self, step: int) -> None:
        """Set it."""
        self._context.forcing = self._probability(step)

    def after_step(self, step: int) -> None:
        """Nothing is left to do."""

    def figures(self) -> dict[str, Any]:
        """The probability of the step that ends."""
        return {"forcing": self._context.forcing}

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the step says it all."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing is taken up."""


class IdleExperts:
    """A companion that names experts which no token has reached for long: they learn nothing, and cost memory."""

    def __init__(self, student: nn.Module, context: RoutingContext, devices: Devices, *, steps: int) -> None:
        """Watch a student.

        Args:
            student: Whose forward passes in training count; its routers keep what they do from now on.
            context: Its own.
            devices: The processes.
            steps: Without a token, after which an expert is named.
        """
        context.collects = True
        self._context, self._devices, self._steps = context, devices, steps
        self._names = expert_names(context.config)
        self._counts = {
            layer: torch.zeros(context.config.experts, dtype=torch.int64) for layer in context.config.layers
        }
        self._reached = {name: 0 for name in self._names.values()}
        self._named: set[str] = set()
        student.register_forward_hook(self._count)

    def before_step(self, step: int) -> None:
        """Nothing is to be done."""

    def after_step(self, step: int) -> None:
        """Look who was reached, and name who was not for long; all processes have to."""
        flat = torch.cat([self._counts[layer].cpu() for layer in self._context.config.layers])
        totals = self._devices.total(flat.tolist())
        for each in self._counts.values():
            each.zero_()
        for name, tokens in zip(self._names.values(), totals, strict=True):
            if tokens:
                self._reached[name] = step
                self._named.discard(name)
            elif step - self._reached[name] >= self._steps and name not in self._named:
                self._named.add(name)
                if self._devices.is_main:
                    logger.warning(
                        "step %d: no token has reached %s for %d steps. Use --routing forced or supervised, or a "
                        "balancing weight above 0 (--balancing)",
                        step,
                        name,
                        self._steps,
                    )

    def figures(self) -> dict[str, Any]:
        """How many experts are named now."""
        return {IDLE: len(self._named)}

    def state_dict(self) -> dict[str, Any]:
        """When each was reached last, and who is named."""
        return {"reached": dict(self._reached), "named": sorted(self._named)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take it up."""
        self._reached = {name: int(step) for name, step in state["reached"].items()}
        self._named = set(state["named"])

    def _count(self, module: nn.Module, inputs: Any, output: Any) -> None:
        routing = self._context.current
        if not module.training or routing is None:
            return
        for layer, record in routing.records.items():
            found = torch.bincount(record.indices.reshape(-1), minlength=self._context.config.experts)
            self._counts[layer] = self._counts[layer].to(found.device) + found


def expert_names(config: MoeConfig) -> dict[tuple[int, int], str]:
    """Each expert of each layer in words, by layer and number."""
    return {
        (layer, expert): f"expert {expert} ({', '.join(families)}) of layer {layer}"
        for layer in config.layers
        for expert in range(config.experts)
        for families in [[name for name, own in config.families.items() if expert in own]]
    }
