"""Cleaning that is stated and chosen: each rule has a name, and without its name nothing of the kind is done."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

_BLANK: Final = "\x0b\x0c\r\x1c-\x1f\x85\u2028\u2029"
_IMAGES: Final = "".join(
    f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
)
_SEPARATORS: Final = re.compile(f"[{_BLANK}]")
_CONTROLS: Final = re.compile(f"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufdd0-\ufdef\ufeff{_IMAGES}]")


def _without_controls(lines: list[str]) -> list[str]:
    text = "\n".join(lines)
    if not _may_hold_controls(text):
        return lines
    return _CONTROLS.sub("", _SEPARATORS.sub(" ", text)).split("\n")


def _may_hold_controls(text: str) -> bool:
    """A coarse answer at a tenth of the time that the patterns take."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    low = (points < 0x20) & (points != 0x0A) & (points != 0x09)
    delete_and_later = points - np.uint32(0x7F) < 0x21  # below 0x7F it wraps round
    return bool(
        low.any()
        or delete_and_later.any()
        or (points - np.uint32(0x2028) < 2).any()
        or (points - np.uint32(0xFDD0) < 0x20).any()
        or (points == 0xFEFF).any()
        or ((points & 0xFFFE) == 0xFFFE).any()
    )


def _composed(lines: list[str]) -> list[str]:
    normalize = unicodedata.normalize
    return [normalize("NFC", line) for line in lines]


def _collapsed(lines: list[str]) -> list[str]:
    return [" ".join(line.split()) for line in lines]


CLEANING: Final[Mapping[str, tuple[Callable[[list[str]], list[str]], str]]] = {
    "control": (
        _without_controls,
        "control characters but the tab, byte order marks and noncharacters are taken out; those that separate "
        "(form feeds, next line, line and paragraph separators) become spaces",
    ),
    "nfc": (_composed, "Unicode normal form C"),
    "collapse": (_collapsed, "white space becomes one space, and goes at the ends"),
}
"""Rules by name, in the order in which they work: the function, from lines to as many lines, and what it does. Empty
lines are left out whatever is chosen."""


def clean(lines: list[str], rules: tuple[str, ...]) -> list[str]:
    """Lines after some rules of ``CLEANING``; as many as before, some of them perhaps empty.

    Args:
        lines: Without line feeds.
        rules: Names, in any order.
    """
    for name, (rule, _) in CLEANING.items():
        if name in rules and lines:
            lines = rule(lines)
    return lines
