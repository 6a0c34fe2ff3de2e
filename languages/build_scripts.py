"""Write scripts.tsv: the characters of each script that registry.tsv uses, from Unicode's script properties.

Run it after a new script entered the registry, or for a newer Unicode: ``python languages/build_scripts.py``.
README.md beside it tells what a row holds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import regex

from polycompress.languages import COMPOSITE_SCRIPTS, all_languages

# Kept whatever the language: ASCII, Latin-1 punctuation and signs, General Punctuation, currency, № ™ −.
COMMON = (
    (0x20, 0x7E), (0xA0, 0xA9), (0xAB, 0xB9), (0xBB, 0xBF), (0xD7, 0xD7), (0xF7, 0xF7), (0x2000, 0x206F),
    (0x20A0, 0x20CF), (0x2116, 0x2116), (0x2122, 0x2122), (0x2212, 0x2212),
)  # fmt: skip

# What Unicode assigns to no script although these depend on it: combining diacritics and modifier letters of
# the alphabets, width variants beside East Asian characters.
DIACRITICS = ((0x02B9, 0x02DF), (0x0300, 0x036F))
WIDTHS = ((0x3000, 0x303F), (0xFF01, 0xFF0F), (0xFF10, 0xFF20), (0xFF3B, 0xFF40), (0xFF5B, 0xFF65))
EXTRA = dict.fromkeys(("Latn", "Grek", "Cyrl"), DIACRITICS) | dict.fromkeys(
    ("Hani", "Hira", "Kana", "Hang"), WIDTHS
)
ASSIGNED = regex.compile(r"\P{Cn}")


def ranges(wanted: Callable[[str], object], extra: tuple[tuple[int, int], ...] = ()) -> str:
    """The code points that are wanted or extra, as hexadecimal ``first-last`` ranges, assigned ones only."""
    runs: list[list[int]] = []
    for point in range(sys.maxunicode + 1):
        if 0xD800 <= point <= 0xDFFF:
            continue
        inside = any(first <= point <= last for first, last in extra)
        if (inside and ASSIGNED.match(chr(point))) or (not inside and wanted(chr(point))):
            if runs and runs[-1][1] == point - 1:
                runs[-1][1] = point
            else:
                runs.append([point, point])
    return " ".join(f"{first:X}" if first == last else f"{first:X}-{last:X}" for first, last in runs)


def main() -> None:
    """Write the table beside this file."""
    used = {part for language in all_languages() for part in language.scripts}
    used |= {part for parts in COMPOSITE_SCRIPTS.values() for part in parts}
    lines = ["script\tcharacters", f"Zyyy\t{ranges(lambda character: False, COMMON)}"]
    for script in sorted(used):
        pattern = regex.compile(
            rf"[\p{{Script={script}}}\p{{Script_Extensions={script}}}--\p{{C}}]", regex.V1
        )
        lines.append(f"{script}\t{ranges(pattern.match, EXTRA.get(script, ()))}")
    Path(__file__).with_name("scripts.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
