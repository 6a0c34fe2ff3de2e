"""Keys of tables of many languages: ``deu:haus``, and plain words of English, as ColexNet+ writes them."""

from __future__ import annotations

import re
from typing import Final

from polycompress.languages.finding import lookup_language

BOUNDARY: Final = "$"
"""Marks the boundary of a word inside of a key."""
UNPREFIXED: Final = "eng-Latn"
"""Language of keys without a code."""

_PREFIX = re.compile(r"([a-z]{3}):(.+)", re.DOTALL)


def read_key(key: str) -> tuple[str, str]:
    """The language and the word of a key.

    What stands before the first colon is a code if it is three lower-case letters; the word may hold further colons.

    Args:
        key: Such as ``yor:ilé``, ``eng:$house$`` or ``house``.

    Returns:
        A code of the registry (of ISO 639-3 codes that it does not know, the three letters), and the word with spaces
        for marks of word boundaries.

    Example:
        >>> read_key("deu:a:b")
        ('deu-Latn', 'a:b')
    """
    match = _PREFIX.fullmatch(key)
    code, word = (match[1], match[2]) if match is not None else ("", key)
    return (_code(code) if code else UNPREFIXED), word.replace(BOUNDARY, " ")


def _code(iso639_3: str) -> str:
    if iso639_3 not in _KNOWN:
        language = lookup_language(iso639_3)
        _KNOWN[iso639_3] = language.code if language is not None else iso639_3
    return _KNOWN[iso639_3]


_KNOWN: dict[str, str] = {}
