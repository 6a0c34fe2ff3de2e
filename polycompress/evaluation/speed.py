"""Timing several models side by side: they take turns, and are compared within each turn.

On a machine that others use, seconds of one hour say little about the next. Two models that alternate in one process
see the same machine, so the ratio of their times in one turn holds where neither time does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from polycompress.errors import InputError

Precision = Literal["fp32", "bf16"]
PRECISIONS: Final[tuple[Precision, ...]] = ("fp32", "bf16")
LATENCY_TURNS: Final = 10
"""Turns at batch 1 for each turn at larger ones: percentiles need many, and they are short."""
LOAD_TURNS: Final = 3
"""Fresh processes at most, in which each model is loaded."""
MAX_BATCH: Final = 1 << 16
MAX_LENGTH: Final = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedSettings:
    """What is measured."""

    batches: tuple[int, ...] = (1, 8, 32)
    """Texts of a batch."""
    lengths: tuple[int, ...] = (32, 128)
    """Tokens of each text."""
    precisions: tuple[Precision, ...] = ("fp32",)
    rounds: int = 5
    """Turns of each size; at batch 1 ``LATENCY_TURNS`` times as many."""
    body: bool = False
    """Leave out heads."""
    seed: int = 0
    """Of the token ids."""

    def __post_init__(self) -> None:
        """Report every value that will not do.

        Raises:
            InputError: There is one.
        """
        faults = [
            *_range_faults("batch", self.batches, MAX_BATCH),
            *_range_faults("length", self.lengths, MAX_LENGTH),
            *_range_faults("rounds", (self.rounds,), 10_000),
        ]
        unknown = [name for name in self.precisions if name not in PRECISIONS]
        if unknown or not self.precisions:
            shown = ", ".join(map(repr, unknown)) or "empty"
            faults.append(f"precision is {shown}; known are {' and '.join(PRECISIONS)}")
        if faults:
            raise InputError(f"Nothing was measured: {'; '.join(faults)}.")


@dataclass(frozen=True, order=True, slots=True)
class Cell:
    """One size of input in one precision."""

    precision: Precision
    length: int
    batch: int


@dataclass(frozen=True, slots=True)
class Timing:
    """What one model took for one size."""

    cell: Cell
    seconds: tuple[float, ...]
    """Of each turn, in order."""

    @property
    def tokens_per_second(self) -> float:
        """At the median."""
        return self.cell.batch * self.cell.length / float(np.median(self.seconds))

    def percentile(self, share: float) -> float:
        """Milliseconds that this share (0 to 100) of the turns stayed within."""
        return 1000 * float(np.percentile(self.seconds, share))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "precision": self.cell.precision,
            "length": self.cell.length,
            "batch": self.cell.batch,
            "turns": len(self.seconds),
            "p50_ms": self.percentile(50),
            "p95_ms": self.percentile(95),
            "tokens_per_second": self.tokens_per_second,
        }


def plan_cells(settings: SpeedSettings, precision: Precision) -> tuple[Cell, ...]:
    """The sizes to measure in one precision, short ones first; batch 1 is always among them, for the latency."""
    return tuple(
        Cell(precision, length, batch)
        for length in sorted(set(settings.lengths))
        for batch in sorted({1, *settings.batches})
    )


def take_turns(
    forwards: Sequence[Callable[[], None]],
    turns: int,
    *,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> list[tuple[float, ...]]:
    """Time some functions in turns; another one is first in each.

    Args:
        forwards: Each does its work once, and returns when it is done.
        turns: How often each is timed.
        warm_up: How often each runs before that, untimed.
        clock: Seconds.

    Returns:
        The seconds of each function, turn by turn.
    """
    for _ in range(warm_up):
        for forward in forwards:
            forward()
    taken: list[list[float]] = [[] for _ in forwards]
    for turn in range(turns):
        for place in range(len(forwards)):
            index = (turn + place) % len(forwards)
            begun = clock()
            forwards[index]()
            taken[index].append(clock() - begun)
    return [tuple(each) for each in taken]


def turns_of(cell: Cell, settings: SpeedSettings) -> int:
    """How often a size is timed."""
    return settings.rounds * (LATENCY_TURNS if cell.batch == 1 else 1)


def speedup(base: Timing, other: Timing) -> float:
    """How many times as fast the other model is: the median over turns of the two times of one turn."""
    return float(np.median(np.divide(base.seconds, other.seconds)))


def compare(timings: Sequence[Sequence[Timing]]) -> list[dict[str, Any]]:
    """Each model's speed against the first one's.

    Args:
        timings: Of each model, the same sizes in the same order.

    Returns:
        For each size its precision, length, batch and ``speedup``, one number for each model, 1.0 for the first.
    """
    rows: list[dict[str, Any]] = []
    for together in zip(*timings, strict=True):
        cell = together[0].cell
        rows.append(
            {
                "precision": cell.precision,
                "length": cell.length,
                "batch": cell.batch,
                "speedup": [1.0, *(speedup(together[0], each) for each in together[1:])],
            }
        )
    return rows


def size_ratios(sizes: Sequence[Mapping[str, int | None]], name: str) -> list[float | None]:
    """A size of each model as a share of the first one's; None where it is not known."""
    base = sizes[0].get(name)
    return [each[name] / base if base and each.get(name) is not None else None for each in sizes]  # type: ignore[operator]


def _range_faults(name: str, values: Sequence[int], most: int) -> list[str]:
    wrong = [value for value in values if not 1 <= value <= most]
    if values and not wrong:
        return []
    return [f"{name} is {', '.join(map(str, wrong)) or 'empty'}; whole numbers from 1 to {most:,} will do"]
