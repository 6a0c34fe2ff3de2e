"""Cleaning that is stated and chosen: each rule has a name, and without its name nothing of the kind is done."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Final

_BLANK: Final = "\x0b\x0c\r\x1c-\x1f\x85\u2028\u2029"
_IMAGES: Final = "".join(
    f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
)
_SEPARATORS: Final = re.compile(f"[{_BLANK}]")
_CONTROLS: Final = re.compile(f"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufdd0-\ufdef\ufeff{_IMAGES}]")
_SPACES: Final = re.compile(r"[^\S\n]+")
_UNEVEN: Final = re.compile(r"[^\S\n ]|  | \n|\n |\A | \Z")
_ENDS: Final = re.compile(r" ?\n ?")


def _without_controls(text: str) -> str:
    return _CONTROLS.sub("", _SEPARATORS.sub(" ", text))


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _collapsed(text: str) -> str:
    return _ENDS.sub("\n", _SPACES.sub(" ", text)).strip(" ") if _UNEVEN.search(text) else text


CLEANING: Final[Mapping[str, tuple[Callable[[str], str], str]]] = {
    "control": (
        _without_controls,
        "control characters but the tab, byte order marks and noncharacters are taken out; those that separate "
        "(form feeds, next line, line and paragraph separators) become spaces",
    ),
    "nfc": (_composed, "Unicode normal form C"),
    "collapse": (_collapsed, "white space becomes one space, and goes at the ends"),
}
"""Rules by name, in the order in which they work: the function, which takes lines joined by line feeds, and what it
does. Empty lines are left out whatever is chosen."""


def clean(lines: list[str], rules: tuple[str, ...]) -> list[str]:
    """Lines after some rules of ``CLEANING``; as many as before, some of them perhaps empty.

    Args:
        lines: Without line feeds.
        rules: Names, in any order.
    """
    if not lines or not rules:
        return lines
    text = "\n".join(lines)
    for name, (rule, _) in CLEANING.items():
        if name in rules:
            text = rule(text)
    return text.split("\n")
