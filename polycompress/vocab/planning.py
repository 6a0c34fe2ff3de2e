"""Budgets in bytes or parameters, and the largest vocabulary that one holds. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Final, Literal

from polycompress.errors import InputError

Unit = Literal["bytes", "parameters"]

BYTE_UNITS: Final = {
    **{"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12},
    **{"KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40},
}
"""Bytes of each unit, in capitals."""
PARAMETER_UNITS: Final = {"K": 10**3, "M": 10**6, "G": 10**9}
"""Parameters of each unit, in capitals."""

_BUDGET = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) ?([A-Za-z]*)")
_HOW = "Write bytes as 60MB (also KB, GB, MiB, GiB) and parameters as 20M (also K, G)"
_DIGITS: Final = 4
"""Significant digits of a budget that is written out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How large a model may be."""

    value: int
    """Bytes of its weights files, or parameters of the whole model."""
    unit: Unit

    def __str__(self) -> str:
        return budget_text(self.value, self.unit)


def parse_budget(text: str, option: str = "--budget") -> Budget:
    """Read a budget: ``60MB`` (bytes) or ``20M`` (parameters).

    Args:
        text: A number and its unit; case does not matter.
        option: What the user wrote it after, for messages.

    Raises:
        InputError: No number, no unit, or one that is not known.

    Example:
        >>> parse_budget("1.5GB")
        Budget(value=1500000000, unit='bytes')
    """
    match = _BUDGET.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{option} {text[:60]!r} is no size. {_HOW}")
    name = match[2].upper()
    if name in BYTE_UNITS:
        return Budget(value=int(Decimal(match[1]) * BYTE_UNITS[name]), unit="bytes")
    if name in PARAMETER_UNITS:
        return Budget(value=int(Decimal(match[1]) * PARAMETER_UNITS[name]), unit="parameters")
    if not name:
        raise InputError(f"{option} {text!r} does not say of what. {_HOW}")
    hint = f": {match[1]}GB, or {match[1]}G parameters?" if name == "B" else ""
    raise InputError(f"{option} {text[:60]!r}: {match[2][:20]!r} is no unit known here{hint}. {_HOW}")


def budget_text(value: int, unit: Unit) -> str:
    """The smallest budget of few digits that holds an amount, as ``parse_budget`` reads it.

    Args:
        value: Bytes or parameters, not below 0.
        unit: Which of the two.

    Example:
        >>> budget_text(60_000_001, "bytes")
        '60.01MB'
    """
    names = ("KB", "MB", "GB", "TB") if unit == "bytes" else ("K", "M", "G")
    scales = BYTE_UNITS if unit == "bytes" else PARAMETER_UNITS
    name = next((each for each in reversed(names) if value >= scales[each]), names[0])
    amount = Decimal(value) / scales[name]
    places = max(0, _DIGITS - max(1, amount.adjusted() + 1))
    rounded = amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_CEILING)
    text = f"{rounded:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + name


def largest_size(cost: Callable[[int], int], budget: int, most: int, multiple: int = 1) -> int:
    """The most tokens whose model a budget holds.

    Args:
        cost: Cost of a model whose tables have so many rows; it must not fall as they grow.
        budget: What it may cost.
        most: Tokens of the whole vocabulary.
        multiple: Tables are padded to a multiple of so many rows.

    Returns:
        Tokens, 0 to ``most``; 0 where not even one fits.
    """

    def fits(tokens: int) -> bool:
        return cost(tokens + -tokens % multiple) <= budget

    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
