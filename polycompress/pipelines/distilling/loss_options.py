"""What objectives of answers can be told, where that is more than their own arguments."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from polycompress.training.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class UnequalOptions:
    """Of ``unequal``; see there."""

    temperature: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ExitOptions:
    """Of ``multi-exit``; see there."""

    exits: tuple[int, ...]
    """Layers below each exit, going up; the last is the student's number of layers, so the model itself."""
    learns: Literal["labels", "answers"] = "labels"
    """What each exit learns: the task's labels, or what the teacher answers."""
    divergence_weight: float = 0.0
    """Of the divergence from what the last exit says."""
    cosine_weight: float = 0.0
    """Of the distance of hidden states from the last exit's."""
    temperature: float = 1.0
    """Of that divergence, and of the teacher's answers."""

    def __post_init__(self) -> None:
        """Check the values; raises ``ConfigError`` with all faults."""
        faults = _list_faults("exits", self.exits, _is_layer, "layers, counted from 1, such as [2, 4, 6]")
        if not faults and any(low >= high for low, high in itertools.pairwise(self.exits)):
            faults.append(f"exits is {list(self.exits)!r}: name each once, going up")
        for name in ("divergence_weight", "cosine_weight"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                faults.append(f"{name} is {value}: give 0 or more")
        if not 0 < self.temperature < float("inf"):
            faults.append(f"temperature is {self.temperature}: give a number above 0")
        if faults:
            raise ConfigError(faults, "multi-exit")


def _list_faults(name: str, given: Any, fits: Callable[[Any], bool], what: str) -> list[str]:
    if isinstance(given, list | tuple) and given and all(map(fits, given)):
        return []
    return [f"{name} is {given!r}: give a list of {what}"]


def _is_layer(value: Any) -> bool:
    return type(value) is int and value > 0
