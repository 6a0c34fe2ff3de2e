"""Which characters a language's scripts need: the typed view of ``languages/scripts.tsv``."""

from __future__ import annotations

import bisect
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from polycompress.resources import data_path

if TYPE_CHECKING:
    from polycompress.languages.table import Language

COMPOSITE_SCRIPTS: Final = {
    "Hans": ("Hani", "Bopo"),
    "Hant": ("Hani", "Bopo"),
    "Jpan": ("Hani", "Hira", "Kana"),
    "Kore": ("Hang", "Hani"),
}
"""ISO 15924 codes that stand for several of Unicode's scripts."""
_COMMON: Final = "Zyyy"


def is_script_character(character: str, language: Language) -> bool:
    """Whether a language needs this character, judged by its script alone.

    Its scripts' letters, marks, digits and punctuation are needed, and for every language ASCII, common
    typographic punctuation and currency signs.

    Args:
        character: One character.
        language: Whose scripts count.
    """
    bounds = _bounds(language.scripts)
    return len(character) == 1 and bisect.bisect_right(bounds, ord(character)) % 2 == 1


def script_mask(characters: Sequence[str], language: Language) -> list[bool]:
    """``is_script_character`` of each; strings of any other length than one are never needed."""
    bounds, find = _bounds(language.scripts), bisect.bisect_right
    return [len(character) == 1 and find(bounds, ord(character)) % 2 == 1 for character in characters]


def ranges(text: str) -> list[tuple[int, int]]:
    """Half-open ranges of code points from hexadecimal ones: ``41 61-7A`` is [(65, 66), (97, 123)]."""
    spans = (span.partition("-") for span in text.split())
    return [(int(first, 16), int(last or first, 16) + 1) for first, _, last in spans]


@functools.cache
def _bounds(scripts: tuple[str, ...]) -> list[int]:
    """Sorted code points where membership switches on, off, on, ... for scripts and the common characters."""
    table = _script_table()
    spans = sorted(span for script in (_COMMON, *scripts) for span in table[script])
    merged: list[int] = []
    for first, end in spans:
        if merged and first <= merged[-1]:
            merged[-1] = max(merged[-1], end)
        else:
            merged += [first, end]
    return merged


@functools.cache
def _script_table() -> dict[str, list[tuple[int, int]]]:
    """Half-open ranges of code points by script."""
    lines = (data_path("languages") / "scripts.tsv").read_text(encoding="utf-8").splitlines()
    return {script: ranges(spans) for script, spans in (line.split("\t") for line in lines[1:])}
