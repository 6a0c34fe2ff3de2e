"""Text from files inside a page: nothing of it acts, and what would not be seen is."""

from __future__ import annotations

import re
from html import escape
from typing import Final

MAX_TEXT: Final = 20_000
"""Characters of one text on a page: longer than any honest command or name."""
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ud800-\udfff\ufeff\ufff9-\uffff]"
)


def shown(text: str) -> str:
    """Text with control characters, changes of direction and halves of characters written as escapes, and an end."""
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]} ... ({len(text):,} characters)"
    return _UNSEEN.sub(lambda match: ascii(match[0])[1:-1], text)


def escaped(text: str) -> str:
    """Text as markup that shows it, as ``shown`` does."""
    return escape(shown(text))
