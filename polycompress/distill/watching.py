"""What goes into and comes out of parts of a model on some batches, real tokens only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def outputs_of(
    model: Any, parts: Mapping[str, nn.Module], batches: Sequence[Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """The outputs of some parts of a model.

    Args:
        model: Of transformers, in evaluation mode.
        parts: Modules of it whose output is one tensor, (B, n, d).
        batches: What the model takes; ``attention_mask`` (B, n) is among it.

    Returns:
        By name of the part, (tokens, d), batch after batch.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in parts}
    _watch(model, parts, batches, lambda name, output: found[name].append(output))
    return {name: torch.cat(each) for name, each in found.items()}


def mean_outputs(
    model: Any, parts: Mapping[str, nn.Module], batches: Sequence[Mapping[str, Tensor]]
) -> dict[str, tuple[Tensor, Tensor]]:
    """The means of the outputs of some parts, and of their absolute values; only sums are kept.

    Args:
        model: As above.
        parts: As above.
        batches: As above.

    Returns:
        By name of the part, two times (d,) float64.
    """
    sums: dict[str, Tensor] = {}
    count = sum(int(batch["attention_mask"].sum()) for batch in batches)

    def add(name: str, output: Tensor) -> None:
        wide = output.double()
        both = torch.stack([wide.sum(dim=0), wide.abs().sum(dim=0)])
        sums[name] = sums[name] + both if name in sums else both

    _watch(model, parts, batches, add)
    return {name: (both[0] / count, both[1] / count) for name, both in sums.items()}


def inputs_of(model: Any, part: nn.Module, batches: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """What a part of a model is given; what comes after it does not run.

    Args:
        model: Of transformers, in evaluation mode.
        part: A module of it whose first argument is (B, n, d).
        batches: As above.

    Returns:
        (tokens, d), batch after batch.
    """
    mask: Tensor
    found: list[Tensor] = []

    def keep(module: nn.Module, given: tuple[Any, ...]) -> None:
        found.append(given[0][mask])
        raise _SeenError

    handle = part.register_forward_pre_hook(keep)
    try:
        with torch.no_grad():
            for batch in batches:
                inputs = {name: tensor.to(model.device) for name, tensor in batch.items()}
                mask = inputs["attention_mask"].bool()
                try:
                    model(**inputs)
                except _SeenError:
                    continue
    finally:
        handle.remove()
    return torch.cat(found)


class _SeenError(Exception):
    """The part was reached, so the rest of the model need not run."""


def _watch(
    model: Any,
    parts: Mapping[str, nn.Module],
    batches: Sequence[Mapping[str, Tensor]],
    take: Callable[[str, Tensor], None],
) -> None:
    """Hand over what each part puts out for each batch's real tokens, (tokens, d)."""
    mask: Tensor

    def keeper(name: str) -> Any:
        def keep(module: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
            take(name, output[mask])

        return keep

    handles = [part.register_forward_hook(keeper(name)) for name, part in parts.items()]
    try:
        with torch.no_grad():
            for batch in batches:
                inputs = {name: tensor.to(model.device) for name, tensor in batch.items()}
                mask = inputs["attention_mask"].bool()
                model(**inputs)
    finally:
        for handle in handles:
            handle.remove()
