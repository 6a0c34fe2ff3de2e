"""Facts of a manifest as a card shows them: rounded for people, exact beside it, or unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard

UNKNOWN: Final = "unknown"

_UNITS = (("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def part_of(mapping: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A part of the manifest, empty where it is missing or of another kind."""
    value = mapping.get(key)
    return value if isinstance(value, Mapping) else {}


def items_of(mapping: Mapping[str, Any], key: str) -> Sequence[Any]:
    """A list of the manifest, empty where it is missing or of another kind."""
    value = mapping.get(key)
    return value if isinstance(value, list | tuple) else ()


def language_entries(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Code and name of each language the model is for."""
    return [each for each in items_of(manifest, "languages") if isinstance(each, Mapping)]


def join(names: Sequence[str]) -> str:
    """Names as a sentence lists them."""
    if len(names) < 2:
        return names[0] if names else UNKNOWN
    return ", ".join(names[:-1]) + " and " + names[-1]


def count(value: object) -> str:
    """A whole number with its thousands marked."""
    return f"{int(value):,}" if _is_number(value) else UNKNOWN


def ratio(value: object) -> str:
    """A ratio with two decimals."""
    return f"{value:.2f}" if _is_number(value) else UNKNOWN


def number(value: object) -> str:
    """A number with three significant digits."""
    return f"{value:.3g}" if _is_number(value) else UNKNOWN


def parameters(value: object) -> str:
    """A number of parameters, rounded and exact."""
    if not _is_number(value):
        return UNKNOWN
    return f"{value / 1e6:,.1f} M ({value:,})" if value >= 10**6 else f"{value:,}"


def size(value: object) -> str:
    """A number of bytes, rounded."""
    if not _is_number(value):
        return UNKNOWN
    return next(
        (f"{value / scale:,.1f} {unit}" for unit, scale in _UNITS if value >= scale), f"{value:,} bytes"
    )


def size_exact(value: object) -> str:
    """A number of bytes, rounded and exact."""
    return f"{size(value)} ({value:,} bytes)" if _is_number(value) and value >= 1000 else size(value)


def share(part: object, whole: object) -> str:
    """A share in per cent."""
    return f"{part / whole:.1%}" if _is_number(part) and _is_number(whole) and whole else UNKNOWN


def part_and_share(part: object, whole: object) -> str:
    """A part, its whole and the share."""
    if not _is_number(part) or not _is_number(whole):
        return UNKNOWN
    return f"{count(part)} of {count(whole)} ({share(part, whole)})" if whole else "none"


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
