"""The models that objectives are made for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from polycompress.distill.layer_map import LayerMap
from polycompress.distill.objectives.unequal import VocabularyMap


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """What objectives are made for."""

    student: Any
    """Configuration."""
    teacher: Any
    layers: tuple[int, ...]
    steps: int
    basis: Tensor | None = None
    """(d_T, d_S) of a student made narrower: its states are in it, so the teacher's are turned into it."""
    vocabularies: VocabularyMap | None = None
    """Which pieces both have, where answers over vocabularies are compared."""
    model: Any = None
    """The student itself, with its head; None where only its configuration is looked at."""
    vector_width: int | None = None
    """Units of the teacher's vectors of texts where those come ready; None: they are means of its hidden states."""
    others: tuple[Any, ...] = ()
    """Configurations of the second and later teachers."""
    samples: Callable[[Sequence[int]], list[Tensor]] | None = None
    """From the number of a hidden state of each teacher to those states, (N, d_t), of the same N tokens or words; None
    where only configurations are looked at."""

    @property
    def layer_map(self) -> LayerMap:
        """Which layers belong together."""
        return LayerMap(self.layers, int(self.teacher.num_hidden_layers))

    @property
    def teachers(self) -> tuple[Any, ...]:
        """Configurations of all teachers."""
        return (self.teacher, *self.others)

    @property
    def last(self) -> tuple[int, int]:
        """The last layers of both."""
        return int(self.student.num_hidden_layers) - 1, int(self.teacher.num_hidden_layers) - 1

    @property
    def widths(self) -> tuple[int, int]:
        """Units of hidden states of both."""
        return int(self.student.hidden_size), int(self.teacher.hidden_size)
