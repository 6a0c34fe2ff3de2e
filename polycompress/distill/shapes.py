"""Shapes that a student may have, and what each takes. Pure functions; no model is built."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from polycompress.errors import InputError


@dataclass(frozen=True, order=True, slots=True)
class Width:
    """The sizes within a layer."""

    hidden: int
    heads: int
    feed_forward: int
    """0 where the configuration does not name it."""

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            InputError: The hidden size is no multiple of the heads, or a size is not above 0.
        """
        if min(self.hidden, self.heads) < 1 or self.feed_forward < 0 or self.hidden % self.heads:
            raise InputError(
                f"A hidden size of {self.hidden} with {self.heads} heads: it has to be a multiple of them, and both "
                "above 0."
            )


@dataclass(frozen=True, order=True, slots=True)
class Shape:
    """One student."""

    layers: int
    width: Width
    tokens: int
    """Rows of the vocabulary table."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "layers": self.layers,
            "hidden": self.width.hidden,
            "heads": self.width.heads,
            "feed_forward": self.width.feed_forward,
            "tokens": self.tokens,
        }


@dataclass(frozen=True, slots=True)
class WidthCost:
    """Parameters of a model of some width."""

    fixed: int
    """Whatever layers and vocabulary are."""
    per_layer: int
    per_token: int

    def parameters(self, layers: int, tokens: int) -> int:
        """Of a model with so many layers and rows."""
        return self.fixed + layers * self.per_layer + tokens * self.per_token


def measure_width(parameters: Callable[[int, int], int]) -> WidthCost:
    """What a width costs, from three models of it.

    Args:
        parameters: Parameters of a model with so many layers and so many rows; linear in both.
    """
    few, rows = 1, 64
    least = parameters(few, rows)
    per_layer = parameters(few + 1, rows) - least
    per_token = (parameters(few, 2 * rows) - least) // rows
    return WidthCost(least - few * per_layer - rows * per_token, per_layer, per_token)


def layer_options(layers: int) -> tuple[int, ...]:
    """How many layers a student may have: what divides the teacher's evenly, so that every n-th can be taken.

    Example:
        >>> layer_options(12)
        (1, 2, 3, 4, 6, 12)
    """
    return tuple(number for number in range(1, layers + 1) if layers % number == 0)


def width_options(
    teacher: Width,
    hidden: Collection[int] = (),
    heads: Collection[int] = (),
    feed_forward: Collection[int] = (),
) -> tuple[Width, ...]:
    """Widths of a student.

    Args:
        teacher: Its own.
        hidden: Hidden sizes; by default the teacher's, two thirds and half of it, as far as its heads divide them.
        heads: Numbers of heads; by default the teacher's. Those that do not divide a hidden size are left out of it.
        feed_forward: Widths of the feed-forward layers; by default as many times the hidden size as the teacher's.

    Returns:
        Widths, wide ones first.

    Raises:
        InputError: No combination fits.
    """
    counts = heads or (teacher.heads,)
    sizes = hidden or [
        size
        for size in (teacher.hidden, teacher.hidden * 2 // 3, teacher.hidden // 2)
        if size and size % teacher.heads == 0
    ]
    found = {
        Width(size, count, inner)
        for size in sizes
        for count in counts
        if size > 0 and count > 0 and size % count == 0
        for inner in (feed_forward or (round(teacher.feed_forward * size / teacher.hidden),))
    }
    if not found:
        raise InputError(
            f"No hidden size ({', '.join(map(str, sizes))}) is a multiple of a number of heads "
            f"({', '.join(map(str, counts))})."
        )
    return tuple(sorted(found, reverse=True))


def enumerate_shapes(
    layers: Iterable[int], widths: Iterable[Width], tokens: Iterable[int]
) -> tuple[Shape, ...]:
    """All combinations, large ones first."""
    every, columns, rows = set(layers), list(dict.fromkeys(widths)), set(tokens)
    return tuple(
        Shape(count, width, size)
        for count in sorted(every, reverse=True)
        for width in columns
        for size in sorted(rows, reverse=True)
    )


def within_budget(
    shapes: Sequence[Shape], cost: Callable[[Shape], float], budget: float, least_share: float = 0.0
) -> tuple[Shape, ...]:
    """The shapes that a budget holds.

    Args:
        shapes: In any order.
        cost: Parameters, bytes or milliseconds of one.
        budget: In the same unit.
        least_share: Leave out those that use less of the budget: smaller students than one asks for.

    Returns:
        In the same order; empty where none fits. Where all that fit use less than the share, those are returned.
    """
    costs = {shape: cost(shape) for shape in shapes}
    fitting = [shape for shape in shapes if costs[shape] <= budget]
    large = [shape for shape in fitting if costs[shape] >= least_share * budget]
    return tuple(large or fitting)
