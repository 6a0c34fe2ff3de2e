"""What objectives can be told in a recipe: options, their defaults, and what is wrong with them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from polycompress.distill.objectives.divergences import Kind
from polycompress.distill.objectives.mutual_information import Features
from polycompress.distill.objectives.sentence import Distance
from polycompress.training.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class NoOptions:
    """Of objectives that can be told nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionOptions:
    """Of ``attention-mse``."""

    normalised: bool = True
    """Maps after the softmax (BiStil) instead of scores before it (TinyBERT)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RelationOptions:
    """Of ``minilmv2``."""

    relation_heads: int = 12
    teacher_layer: int | None = None
    """None: the last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DivergenceOptions:
    """Of ``divergence``; see there."""

    kind: Kind = "forward"
    temperature: float = 1.0
    scale_by_temperature: bool = True
    beta: float = 0.5
    skew: float = 0.1
    head_mass: float = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class DKDOptions:
    """Of ``dkd``; see there."""

    alpha: float = 1.0
    beta: float = 0.5
    temperature: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TAIDOptions:
    """Of ``taid``; see there."""

    t_start: float = 0.4
    t_end: float = 1.0
    alpha: float = 5e-4
    beta: float = 0.99
    adaptive: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class InformationOptions:
    """Of ``mi-alpha``; see there."""

    width: int = 128
    alpha: float = 0.5
    features: Features = "texts"
    learn_baseline: bool = True
    max_samples: int = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorOptions:
    """Of ``sentence-vectors``; see there."""

    distance: Distance = "mse"


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


@dataclass(frozen=True, kw_only=True, slots=True)
class MixedHiddenOptions:
    """Of ``mixed-hidden``; see there."""

    weights: tuple[float, ...] | None = None
    """Of each teacher; None: all alike."""
    layers: tuple[int, ...] | None = None
    """Number of each teacher's hidden state, 0 that of the embeddings; None: the last of each."""
    student_layer: int | None = None
    """Number of the student's hidden state; None: the last."""
    width: int | None = None
    """Units of the space that all are turned into; None: those of the narrowest teacher."""

    def __post_init__(self) -> None:
        """Check the values; raises ``ConfigError`` with all faults."""
        faults = _weight_faults(self.weights)
        if self.layers is not None:
            faults += _list_faults(
                "layers", self.layers, _is_state, "hidden states, counted from 0: one for each teacher"
            )
        if self.student_layer is not None and self.student_layer < 0:
            faults.append(f"student_layer is {self.student_layer}: give 0 (embeddings) or more")
        if self.width is not None and self.width < 1:
            faults.append(f"width is {self.width}: give at least 1")
        if faults:
            raise ConfigError(faults, "mixed-hidden")


@dataclass(frozen=True, kw_only=True, slots=True)
class MixedClassesOptions:
    """Of ``mixed-classes``; see there."""

    weights: tuple[float, ...] | None = None
    """Of each teacher; None: all alike."""
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Check the values; raises ``ConfigError`` with all faults."""
        faults = _weight_faults(self.weights)
        if not 0 < self.temperature < float("inf"):
            faults.append(f"temperature is {self.temperature}: give a number above 0")
        if faults:
            raise ConfigError(faults, "mixed-classes")


def _weight_faults(weights: Any) -> list[str]:
    if weights is None:
        return []
    faults = _list_faults("weights", weights, _is_weight, "numbers of 0 or more, one for each teacher")
    return faults or ([] if any(weights) else [f"weights is {list(weights)!r}: one has to be above 0"])


def _list_faults(name: str, given: Any, fits: Callable[[Any], bool], what: str) -> list[str]:
    if isinstance(given, list | tuple) and given and all(map(fits, given)):
        return []
    return [f"{name} is {given!r}: give a list of {what}"]


def _is_layer(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_state(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_weight(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < float("inf")
