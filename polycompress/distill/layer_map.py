"""Which layers of the teacher a student's layers are made of, and matched with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from polycompress.errors import InputError


@dataclass(frozen=True, slots=True)
class LayerMap:
    """For each layer of the student, from the bottom, the layer of the teacher that it stands for; both from 0."""

    layers: tuple[int, ...]
    teacher_layers: int

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            InputError: It is empty, names a layer that the teacher lacks, or does not go up.
        """
        if not self.layers:
            raise InputError("The layer map is empty: a student needs at least one layer.")
        outside = [layer for layer in self.layers if not 0 <= layer < self.teacher_layers]
        if outside:
            raise InputError(
                f"The layer map names layer {outside[0]}, but the teacher has the layers 0 to "
                f"{self.teacher_layers - 1}."
            )
        if any(low >= high for low, high in zip(self.layers, self.layers[1:], strict=False)):
            shown = ",".join(map(str, self.layers))
            raise InputError(
                f"The layer map {shown} does not go up: each layer stands above the one before it."
            )

    @property
    def hidden(self) -> tuple[tuple[int, int], ...]:
        """Pairs of hidden states, student and teacher, where 0 is the output of the embeddings."""
        return ((0, 0), *((own + 1, layer + 1) for own, layer in enumerate(self.layers)))

    @property
    def attention(self) -> tuple[tuple[int, int], ...]:
        """Pairs of layers, student and teacher, whose attention is matched."""
        return tuple(enumerate(self.layers))


def every_nth(teacher_layers: int, layers: int) -> LayerMap:
    """The last of each block of layers: of 12, six are 1, 3, 5, 7, 9, 11.

    Raises:
        InputError: The student's number does not divide the teacher's.
    """
    if not 1 <= layers <= teacher_layers or teacher_layers % layers:
        fitting = [number for number in range(1, teacher_layers + 1) if teacher_layers % number == 0]
        raise InputError(
            f"{layers} layers do not divide the teacher's {teacher_layers} evenly: give one of "
            f"{', '.join(map(str, fitting))}, or name the layers yourself with --layer-map (layer_map in a recipe)."
        )
    step = teacher_layers // layers
    return LayerMap(tuple(range(step - 1, teacher_layers, step)), teacher_layers)


def bottom(teacher_layers: int, layers: int) -> LayerMap:
    """The first layers.

    Raises:
        InputError: There are fewer.
    """
    if not 1 <= layers <= teacher_layers:
        raise InputError(
            f"{layers} layers of a teacher that has {teacher_layers}: give 1 to {teacher_layers}."
        )
    return LayerMap(tuple(range(layers)), teacher_layers)


def make_layer_map(
    teacher_layers: int, layers: int, strategy: Literal["every-nth", "bottom"], explicit: Sequence[int] = ()
) -> LayerMap:
    """The map that a user asked for.

    Args:
        teacher_layers: How many it has.
        layers: How many the student has.
        strategy: How layers are chosen.
        explicit: Layers of the teacher, named one by one; empty: the strategy chooses.

    Raises:
        InputError: They do not fit.
    """
    if explicit:
        if len(explicit) != layers:
            raise InputError(
                f"The layer map names {len(explicit)} layers for a student of {layers}: let both agree."
            )
        return LayerMap(tuple(explicit), teacher_layers)
    return every_nth(teacher_layers, layers) if strategy == "every-nth" else bottom(teacher_layers, layers)
