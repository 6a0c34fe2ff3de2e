"""Which examples go together: batches by token budget, of texts of like length or of packed rows.

The order of training is cut into windows of some dozens of batches. Within a window examples are put together by length
(or packed), and the batches are shuffled; so little is padded, and the order stays random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from polycompress.errors import InputError
from polycompress.training.batches import padded_length
from polycompress.training.errors import ConfigError
from polycompress.training.hashing import hashed, name_word
from polycompress.training.mixing import Draw
from polycompress.training.packing import pack

_STREAM: Final = name_word("batching")

Plan = list[list[int]]
"""A batch to be: for each row the numbers of its examples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batching:
    """How batches are made."""

    token_budget: int
    """Rows times width of a batch at most, padding included."""
    packed_length: int | None = None
    """Tokens of a row into which several texts are packed; None: every text has its row."""
    monolingual: bool = False
    """Whether a batch holds one language only."""
    window: int = 64
    """Batches whose examples are put together by length: more pad less, fewer mix better."""
    multiple: int = 1
    """The width of a batch is rounded up to a multiple of it; 8 suits the matrix units of GPUs."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: Any are wrong; all are named.
        """
        found = {
            name: getattr(self, name) for name in ("token_budget", "packed_length", "window", "multiple")
        }
        wrong = [
            f"{name} is {value!r}: give at least 1"
            for name, value in found.items()
            if value is not None and value < 1
        ]
        if wrong:
            raise ConfigError(wrong, "Batching")


def bucket(lengths: Sequence[int], budget: int, multiple: int = 1) -> list[list[int]]:
    """Put items of like length together.

    Args:
        lengths: Of the items.
        budget: Items of a batch times the longest of them, rounded up to ``multiple``, is at most this.
        multiple: See there.

    Returns:
        Batches of item numbers, longest first; every item once. The same for the same lengths.

    Raises:
        InputError: One item alone is more than the budget.
    """
    order = sorted(range(len(lengths)), key=lambda item: -lengths[item])
    batches = []
    begin = 0
    while begin < len(order):
        width = padded_length(lengths[order[begin]], multiple)
        if width > budget:
            raise InputError(_too_small(budget, width))
        batches.append(order[begin : begin + budget // width])
        begin += budget // width
    return batches


def plan_window(draws: Sequence[Draw], batching: Batching, seed: int, number: int) -> list[Plan]:
    """The batches of a window, in the order in which they are trained on.

    Args:
        draws: Its examples.
        batching: How.
        seed: 0 to 2 ** 64 - 1.
        number: Of the window.

    Returns:
        Plans whose numbers are places in ``draws``; every example once.

    Raises:
        InputError: An example is longer than a row, or than the budget.
    """
    groups: dict[int, list[int]] = {}
    for place, draw in enumerate(draws):
        groups.setdefault(draw.language if batching.monolingual else 0, []).append(place)
    plans: list[Plan] = []
    for key, places in groups.items():
        lengths = [draws[place].tokens for place in places]
        if batching.packed_length is None:
            batches = bucket(lengths, batching.token_budget, batching.multiple)
            plans += [[[places[item]] for item in batch] for batch in batches]
        else:
            rows = [[places[item] for item in row] for row in pack(lengths, batching.packed_length)]
            rows = [rows[row] for row in _shuffle(len(rows), seed, number, key, 1)]
            height = batching.token_budget // padded_length(batching.packed_length, batching.multiple)
            plans += [rows[begin : begin + height] for begin in range(0, len(rows), height)]
    return [plans[plan] for plan in _shuffle(len(plans), seed, number, 0, 0)]


def check_fits(longest: int, batching: Batching) -> None:
    """Refuse batches that cannot hold the longest example.

    Raises:
        InputError: The budget, or a packed row, is smaller.
    """
    row = batching.packed_length
    if row is not None and longest > row:
        raise InputError(
            f"packed_length is {row} tokens, but the longest example has {longest}: give at least {longest}, or cut "
            "the texts shorter (max_length)."
        )
    width = padded_length(longest if row is None else row, batching.multiple)
    if width > batching.token_budget:
        raise InputError(_too_small(batching.token_budget, width))


def _too_small(budget: int, width: int) -> str:
    return (
        f"token_budget is {budget} tokens, but one row alone needs {width}: give at least {width}, or cut the texts "
        "shorter (max_length)."
    )


def _shuffle(size: int, *key: int) -> list[int]:
    """A shuffle of ``0 .. size - 1``."""
    order: list[int] = np.argsort(hashed(_STREAM, *key, np.arange(size)), kind="stable").tolist()
    return order
