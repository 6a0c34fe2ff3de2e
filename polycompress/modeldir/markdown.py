"""Text from elsewhere inside Markdown, tables, code and YAML, where none of it may act as markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Underscores inside a word do nothing; "#", "-" and the like act at the beginning of a line only.
_MARKUP = re.compile(r"[\\`*\[\]<>|~$]|(?<!\w)_|_(?!\w)|^[#+=-]|(?<=^\d)[.)]|(?<=^\d\d)[.)]|&(?=#?\w+;)")
_LINKS = {"://": "&#58;//", "www.": "www&#46;", "@": "&#64;"}  # what GitHub and the hub make links of unasked
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff\ufeff]"
)


def plain(text: object) -> str:
    """One line of text without control characters, direction changes or lone surrogates."""
    return _INVISIBLE.sub("\ufffd", " ".join(str(text).split()))


def escape(text: object) -> str:
    """Text as Markdown that shows it letter by letter, in a sentence or in a table."""
    line = _MARKUP.sub(r"\\\g<0>", plain(text))
    for link, entity in _LINKS.items():
        line = line.replace(link, entity)
    return line


def code(text: object) -> str:
    """Text as inline code, also inside a table."""
    line = plain(text).replace("|", "\\|")
    ticks = "`" * (_longest_run(line) + 1)
    space = " " if line[:1] in ("`", "") or line[-1:] == "`" else ""
    return f"{ticks}{space}{line}{space}{ticks}"


def block(text: str, language: str = "") -> str:
    """Text as a block of code, its lines kept."""
    body = _INVISIBLE.sub("\ufffd", text)
    fence = "`" * max(3, _longest_run(body) + 1)
    return f"{fence}{language}\n{body}\n{fence}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first column is text, the others are set flush right. Cells are Markdown already."""
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def front_matter(fields: Mapping[str, Any]) -> str:
    """YAML between its two lines of dashes, whatever the values hold."""
    import yaml

    body = yaml.safe_dump(dict(fields), allow_unicode=True, sort_keys=False, default_flow_style=False)
    return f"---\n{body}---"


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)
