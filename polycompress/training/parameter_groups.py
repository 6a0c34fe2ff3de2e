"""Parameters by where they stand: embeddings, layer after layer, head; and norms and biases across all of them.

What is frozen, what learns faster and what a sparse fine-tuning leaves alone is said in these names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from torch import nn

from polycompress.errors import InputError
from polycompress.training.optimisers import norm_ids

EMBEDDINGS: Final = "embeddings"
HEAD: Final = "head"
_FREEZE = re.compile(r"embeddings(?:\+(\d{1,4}))?")


@dataclass(frozen=True, slots=True)
class ParameterGroups:
    """The names of a model's parameters, each in one group."""

    groups: Mapping[str, tuple[str, ...]]
    """``embeddings``, ``layer-0`` and so on, ``head``: every name once, tied ones under their first."""
    norms_and_biases: frozenset[str]
    """Those of them that belong to norms, and biases."""

    @property
    def layers(self) -> int:
        """How many layers there are."""
        return len(self.groups) - 2

    def group_of(self, name: str) -> str:
        """The group that a parameter is in."""
        return next(group for group, names in self.groups.items() if name in names)


def name_groups(model: Any) -> ParameterGroups:
    """Sort a model's parameters.

    Layers are the elements of the base model's outermost lists of modules. What stands before the first of them, or is
    called an embedding, is ``embeddings``; everything else (pooler, last norm, classifier) is ``head``.

    Args:
        model: Of transformers, with or without a head.
    """
    base = model.base_model
    known = {id(parameter) for parameter in base.parameters()}
    layers = _layers(base)
    layer_of = {id(p): number for number, layer in enumerate(layers) for p in layer.parameters()}
    found: dict[str, list[str]] = {
        name: [] for name in (EMBEDDINGS, *(f"layer-{number}" for number in range(len(layers))), HEAD)
    }
    before = True
    for name, parameter in model.named_parameters():
        number = layer_of.get(id(parameter))
        if number is not None:
            before = False
            found[f"layer-{number}"].append(name)
        elif id(parameter) in known and (before or "embed" in name):
            found[EMBEDDINGS].append(name)
        else:
            found[HEAD].append(name)
    return ParameterGroups(
        {group: tuple(names) for group, names in found.items()}, frozenset(_norms_and_biases(model))
    )


@dataclass(frozen=True, slots=True)
class Freeze:
    """What stays as it is."""

    embeddings: bool = False
    layers: int = 0
    """So many, from the first on."""

    @classmethod
    def parse(cls, text: str) -> Freeze:
        """Read ``none``, ``embeddings`` or ``embeddings+N``.

        Raises:
            InputError: It is written otherwise.
        """
        if text == "none":
            return cls()
        match = _FREEZE.fullmatch(text)
        if match is None:
            raise InputError(
                f"freeze is {text!r}: give none, embeddings, or embeddings+N for the first N layers as well"
            )
        return cls(True, int(match[1] or 0))


def check_freeze(groups: ParameterGroups, freeze: Freeze) -> None:
    """Refuse to freeze what is not there.

    Raises:
        InputError: The model has fewer layers.
    """
    if freeze.layers > groups.layers:
        raise InputError(
            f"freeze names {freeze.layers} layers, but the model has {groups.layers}: give at most as many"
        )


def freeze_(model: Any, groups: ParameterGroups, freeze: Freeze) -> tuple[str, ...]:
    """Take parameters out of training, in place.

    Returns:
        Their names.

    Raises:
        InputError: The model has fewer layers.
    """
    check_freeze(groups, freeze)
    chosen = (EMBEDDINGS, *(f"layer-{number}" for number in range(freeze.layers)))
    names = [name for group in chosen for name in groups.groups[group]] if freeze.embeddings else []
    parameters = dict(model.named_parameters())
    for name in names:
        parameters[name].requires_grad_(False)
    return tuple(names)


def at_rates(
    groups: Sequence[Mapping[str, Any]], faster: Sequence[nn.Parameter], factor: float
) -> list[dict[str, Any]]:
    """Split an optimiser's groups so that some parameters learn at another rate.

    Args:
        groups: As ``optimisers.param_groups`` gives them.
        faster: Of dense groups.
        factor: Their rate, in that of the rest.

    Returns:
        Groups with a ``rate_factor``; none is empty.
    """
    chosen = {id(parameter) for parameter in faster}
    split = []
    for group in groups:
        for wanted, rate in ((False, 1.0), (True, factor)):
            members = [p for p in group["params"] if (id(p) in chosen and not group["rows"]) == wanted]
            if members:
                split.append({**group, "params": members, "rate_factor": rate})
    return split


def _layers(base: nn.Module) -> list[nn.Module]:
    """Elements of the outermost lists of modules that have parameters, in order."""
    found: list[nn.Module] = []

    def walk(module: nn.Module) -> None:
        for child in module.children():
            if isinstance(child, nn.ModuleList):
                found.extend(each for each in child if next(each.parameters(), None) is not None)
            else:
                walk(child)

    walk(base)
    return found


def _norms_and_biases(model: nn.Module) -> list[str]:
    norms = norm_ids(model)
    return [
        name
        for name, parameter in model.named_parameters()
        if id(parameter) in norms or name.endswith("bias")
    ]
