"""The state of model, optimiser and generators as a tree for a snapshot, and back."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from polycompress.errors import InputError
from polycompress.training.devices import Devices, put, whole
from polycompress.training.optimisers import SplitAdamW

logger = logging.getLogger(__name__)


def capture(
    *, model: nn.Module, optimiser: SplitAdamW, devices: Devices, generators: Mapping[str, torch.Generator]
) -> dict[str, Any]:
    """Everything that a step changes besides the data's position; all processes have to ask at once.

    Tables are kept raw: what their rows owe to weight decay stays owed, so that nothing depends on when a snapshot was
    taken.
    """
    return {
        "model": {name: whole(tensor.detach()) for name, tensor in _tensors(model)},
        "optimiser": _each_tensor(optimiser.state_dict(), whole),
        "generators": {
            name: devices.stack(generator)
            for name, generator in _generator_states(devices, generators).items()
        },
    }


def not_finite(captured: Mapping[str, Any], model: nn.Module) -> str | None:
    """Where weights that are trained, or their moments, hold what is not finite.

    Args:
        captured: What ``capture`` gave.
        model: Of which.

    Returns:
        The first such place in words, or None.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not _all_finite(captured["model"][name]):
            return f"the parameter {name}"
    moments: list[Tensor] = []
    _each_tensor(captured["optimiser"], moments.append)
    return None if all(map(_all_finite, moments)) else "the optimiser's moments"


def _all_finite(tensor: Tensor) -> bool:
    """In one pass, and without a mask as large as the tensor."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    return all(math.isfinite(float(bound)) for bound in tensor.aminmax())


def restore(
    saved: Mapping[str, Any],
    *,
    model: nn.Module,
    optimiser: SplitAdamW,
    devices: Devices,
    generators: Mapping[str, torch.Generator],
) -> None:
    """Take up what ``capture`` gave.

    Raises:
        InputError: It is of another model.
    """
    tensors = dict(_tensors(model))
    for name, tensor in tensors.items():
        if name not in saved["model"] or saved["model"][name].shape != tensor.shape:
            raise InputError(f"The snapshot has no parameter {name} of the shape {tuple(tensor.shape)}.")
        put(tensor, saved["model"][name])
    optimiser.load_state_dict(_cut_like(saved["optimiser"], optimiser))
    _restore_generators(saved["generators"], devices, generators)


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters, tied ones once, and the buffers that a checkpoint has."""
    yield from model.named_parameters()
    kept = model.state_dict().keys()
    yield from ((name, buffer) for name, buffer in model.named_buffers() if name in kept)


def _each_tensor(value: Any, change: Any) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _each_tensor(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_each_tensor(item, change) for item in value)
    return value


def _cut_like(state: Mapping[str, Any], optimiser: SplitAdamW) -> dict[str, Any]:
    """Dense moments cut into pieces as their parameters are."""
    parameters = [p for group in optimiser.param_groups if not group["rows"] for p in group["params"]]
    if not any(hasattr(parameter, "device_mesh") for parameter in parameters):
        return dict(state)
    from torch.distributed.tensor import distribute_tensor

    dense = dict(state["dense"])
    dense["state"] = {
        place: {
            name: (
                distribute_tensor(
                    value.to(parameters[place].device),
                    parameters[place].device_mesh,
                    parameters[place].placements,
                )
                if isinstance(value, Tensor) and value.shape == parameters[place].shape
                else value
            )
            for name, value in moments.items()
        }
        for place, moments in dense["state"].items()
    }
    return {**state, "dense": dense}


def _generator_states(devices: Devices, generators: Mapping[str, torch.Generator]) -> dict[str, Tensor]:
    states = {name: generator.get_state() for name, generator in generators.items()}
    states["torch"] = torch.get_rng_state()
    if devices.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(devices.device)
    return states


def _restore_generators(
    saved: Mapping[str, Tensor], devices: Devices, generators: Mapping[str, torch.Generator]
) -> None:
    ranks = min(len(states) for states in saved.values())
    if ranks != devices.world_size:
        logger.warning(
            "the snapshot is of %d processes and there are %d: the run goes on, but not with the same random numbers",
            ranks,
            devices.world_size,
        )
    if devices.rank >= ranks:
        return
    for name, states in saved.items():
        # torch reads a generator's state from the beginning of its storage.
        state = states[devices.rank].clone()
        if name == "torch":
            torch.set_rng_state(state)
        elif name == "cuda":
            if devices.device.type == "cuda":
                torch.cuda.set_rng_state(state, devices.device)
        elif name in generators:
            generators[name].set_state(state)
