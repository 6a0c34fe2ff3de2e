"""One optimiser step: forward and backward over its batches, rows gathered, gradients clipped, weights updated."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from polycompress.training.batches import Batch
from polycompress.training.devices import Devices
from polycompress.training.errors import NonFiniteLossError, OutOfMemoryError, listed
from polycompress.training.memory import free_cached_memory, is_out_of_memory
from polycompress.training.optimisers import SplitAdamW
from polycompress.training.rows import average_dense_gradients_, clip_gradients, gather_gradients_

logger = logging.getLogger(__name__)


class Inputs(Protocol):
    """What a forward pass takes."""

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        """Arguments of the module."""

    @property
    def rows(self) -> Tensor | None:
        """Rows of sparse tables that it reads; None where there are no such tables."""


class Task(Protocol):
    """What is trained: a module whose result is a mean loss, and how batches become its arguments."""

    @property
    def module(self) -> nn.Module:
        """Called with ``prepare(batch).inputs``; the result is a scalar."""

    def weight(self, batch: Batch) -> int:
        """Over how many things (labelled positions, texts) the loss of a batch is a mean."""

    def prepare(self, batch: Batch) -> Inputs:
        """Arguments, on the module's device."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step measured."""

    loss: float
    """The mean over everything labelled in the step, on all processes."""
    gradient_norm: float
    """Before clipping."""
    tokens: int
    """On all processes, without padding."""


class BadBatches(NonFiniteLossError):
    """With the batches themselves, so that they can be written out."""

    def __init__(self, message: str, batches: Sequence[Batch], losses: Sequence[float]) -> None:
        super().__init__(message)
        self.batches, self.losses = tuple(batches), tuple(losses)


def train_step(
    task: Task,
    optimiser: SplitAdamW,
    devices: Devices,
    batches: Sequence[Batch],
    *,
    step: int,
    learning_rate: float,
    max_grad_norm: float,
) -> StepResult:
    """Train on some batches at once, as on one large one: the loss is the mean over all that is labelled in them.

    Batches that do not fit into memory are tried once more in halves. With DDP a process whose memory fails in the
    backward pass leaves the others waiting for its gradients: in steps with a batch larger than any that has fitted,
    gradients therefore travel only when all processes are through.

    Args:
        task: What is trained.
        optimiser: Of its parameters.
        devices: The processes.
        batches: Of this process; at least one.
        step: Number of the step, from 1, for messages.
        learning_rate: Of this step; groups that have a ``rate_factor`` take that many times as much.
        max_grad_norm: Gradients are scaled down to it; 0: never.

    Raises:
        BadBatches: The loss or the gradient is not finite; weights and optimiser are as before.
        OutOfMemoryError: The halves do not fit either, on this process or, in a step as said above, on another; or
            others wait for this process: with FSDP, or with DDP for batches no larger than some that had fitted.
    """
    labelled, tokens, unproven = devices.total(
        [
            sum(task.weight(batch) for batch in batches),
            sum(batch.tokens for batch in batches),
            float(not all(devices.fitted.cover(_shape(batch)) for batch in batches)),
        ]
    )
    apart = bool(unproven) and devices.can_compute_apart
    labelled = max(1.0, labelled)
    failure: OutOfMemoryError | None = None
    try:
        batches, losses = _gradients(task, optimiser, devices, batches, labelled, step, apart)
    except OutOfMemoryError as error:
        optimiser.zero_grad(set_to_none=True)
        if not apart:
            raise
        failure, losses = error, []
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    if apart:
        if any(devices.total([float(failure is not None)])):
            optimiser.zero_grad(set_to_none=True)
            raise failure or OutOfMemoryError(
                f"step {step}: out of memory in another process, which says more"
            )
        tables = set(optimiser.tables)
        average_dense_gradients_([each for each in parameters if each not in tables])
    gather_gradients_(optimiser.tables)
    optimiser.restrict_gradients_()  # before their norm is taken: what must not move has no part in it
    norm = float(clip_gradients(parameters, max_grad_norm or math.inf))
    shares = [loss * task.weight(batch) / labelled for loss, batch in zip(losses, batches, strict=True)]
    (loss,) = devices.total([sum(shares)])
    if not (math.isfinite(loss) and math.isfinite(norm)):
        optimiser.zero_grad(set_to_none=True)
        raise _bad(batches, losses, step, loss, norm)
    for group in optimiser.param_groups:
        group["lr"] = learning_rate * group.get("rate_factor", 1.0)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return StepResult(loss, norm, int(tokens))


def _gradients(
    task: Task,
    optimiser: SplitAdamW,
    devices: Devices,
    batches: Sequence[Batch],
    labelled: float,
    step: int,
    apart: bool,
) -> tuple[Sequence[Batch], list[float]]:
    """Gradients, in the parameters; the batches, in halves where they did not fit, and the loss of each."""
    losses = _backward(task, optimiser, devices, batches, labelled, apart)
    if losses is None:
        if devices.world_size > 1 and not apart:
            raise OutOfMemoryError(_too_large(batches, step, "and other processes wait for this one already"))
        batches = _halved(batches, step)
        losses = _backward(task, optimiser, devices, batches, labelled, apart)
        if losses is None:
            raise OutOfMemoryError(_too_large(batches, step, "in halves neither"))
    for batch in batches:
        devices.fitted.add(_shape(batch))
    return batches, losses


def _backward(
    task: Task,
    optimiser: SplitAdamW,
    devices: Devices,
    batches: Sequence[Batch],
    labelled: float,
    apart: bool,
) -> list[float] | None:
    """Gradients of the mean loss, in the parameters; the loss of each batch, or None where memory did not suffice."""
    losses: list[Tensor] = []
    try:
        for number, batch in enumerate(batches, start=1):
            prepared = task.prepare(batch)
            if prepared.rows is not None:
                optimiser.before_forward(prepared.rows)
            with devices.computing(task.module, last=number == len(batches) and not apart):
                loss = task.module(**prepared.inputs)
                # Wrappers take the mean over processes; this makes it the mean over what is labelled.
                share = task.weight(batch) * devices.world_size / labelled
                (loss.float() * share).backward()
            losses.append(loss.detach())
        return [float(loss) for loss in losses]
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # The traceback, which holds the forward pass's tensors, is gone by here.
    losses.clear()
    optimiser.zero_grad(set_to_none=True)
    free_cached_memory(devices.device)
    return None


def _halved(batches: Sequence[Batch], step: int) -> list[Batch]:
    """Each batch in two, with a warning."""
    halves = [half for batch in batches for half in batch.split()]
    if len(halves) == len(batches):
        raise OutOfMemoryError(_too_large(batches, step, "and one text alone cannot be split"))
    logger.warning(
        "step %d: out of memory; its batches are split in halves and accumulated. Lower the token budget if this "
        "happens often",
        step,
    )
    return halves


def _shape(batch: Batch) -> tuple[int, int]:
    rows, width = batch.input_ids.shape
    return rows, width


def _too_large(batches: Sequence[Batch], step: int, why: str) -> str:
    shape = max((_shape(batch) for batch in batches), key=math.prod)
    texts = [text_id for batch in batches for text_id in batch.text_ids]
    return (
        f"step {step}: out of memory with batches of up to {shape[0]} rows of {shape[1]} tokens, {why} (texts "
        f"{listed(texts)}). Lower the token budget or the length, use bf16, or accumulate more and smaller batches."
    )


def _bad(
    batches: Sequence[Batch], losses: Sequence[float], step: int, loss: float, norm: float
) -> BadBatches:
    pairs = [pair for pair in zip(batches, losses, strict=True) if not math.isfinite(pair[1])]
    what = (
        f"the loss is {loss}"
        if not math.isfinite(loss)
        else f"the loss is {loss:.4g}, but its gradient's norm {norm}"
    )
    pairs = pairs or list(zip(batches, losses, strict=True))
    texts = [text_id for batch, _ in pairs for text_id in batch.text_ids]
    return BadBatches(
        f"step {step}: {what}. The texts of the batch are {listed(texts)}",
        [batch for batch, _ in pairs],
        [value for _, value in pairs],
    )


def no_gradient(task: Task, optimiser: SplitAdamW, devices: Devices, batch: Batch) -> float:
    """The loss of a batch, nothing learnt from it."""
    prepared = task.prepare(batch)
    rows = optimiser.caught_up_within(prepared.rows) if prepared.rows is not None else nullcontext()
    with rows, torch.no_grad(), devices.computing(task.module, last=True):
        return float(task.module(**prepared.inputs))
