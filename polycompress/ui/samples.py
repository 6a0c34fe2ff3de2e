"""The text that the page begins with: frequent words of a language, from its built-in list."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Final

from polycompress.errors import InputError
from polycompress.languages import Language, all_languages, find_language
from polycompress.vocab.frequencies import available_lists, word_buckets

WORDS: Final = 12
"""Of a text."""
_LETTERS: Final = 4
"""Of a word at least, in scripts that put spaces between words; shorter ones say little of a tokenizer."""
OTHERWISE: Final = "The quick brown fox jumps over the lazy dog."
"""Where a language has no list."""


def listed_languages(first: Sequence[str] = ()) -> dict[str, str]:
    """Names of languages by code: some first, then all with a word list, by name."""
    lists = available_lists()
    others = sorted((each for each in all_languages() if each.wordfreq in lists), key=lambda each: each.name)
    codes = [*first, *(each.code for each in others)]
    return {code: find_language(code).name for code in dict.fromkeys(codes)}


@functools.cache
def sample_texts(code: str) -> tuple[str, str]:
    """Two texts of different words.

    Args:
        code: Of a language of the registry.
    """
    language = find_language(code)
    try:
        buckets = word_buckets(language)
    except InputError:
        return OTHERWISE, OTHERWISE
    found = list(itertools.islice(_words(buckets, language), 2 * WORDS))
    return _joined(found[:WORDS], language), _joined(found[WORDS:], language)


def _words(buckets: Sequence[Sequence[str]], language: Language) -> itertools.chain[str]:
    least = _LETTERS if language.spaced else 2
    return itertools.chain.from_iterable(
        [word for word in sorted(bucket) if len(word) >= least and word.isalpha()] for bucket in buckets
    )


def _joined(words: Sequence[str], language: Language) -> str:
    return (" " if language.spaced else "").join(words)
