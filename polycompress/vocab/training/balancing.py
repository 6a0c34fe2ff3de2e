"""How often each language's texts count, so that one with much text does not take all pieces. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from polycompress.corpora import is_held_out

EXPONENT: Final = 0.3
"""Of the languages' amounts of text; 1 leaves them as they are, 0 makes all equal."""
MOST_TIMES: Final = 100.0
"""No text counts more often than this."""


def times_each(sizes: Mapping[str, int], exponent: float = EXPONENT) -> dict[str, float]:
    """How often each language's texts are to count.

    Args:
        sizes: Characters of each language's text, all above 0.
        exponent: The languages' shares become proportional to their sizes to this power; 0 to 1.

    Returns:
        For each language a factor, from 1 (the one with the most text) to ``MOST_TIMES``.

    Reference:
        Conneau et al., "Unsupervised Cross-lingual Representation Learning at Scale" (ACL 2020), section 3.1: the
        exponent 0.3, for the vocabulary as well; https://arxiv.org/abs/1911.02116.

    Example:
        >>> times_each({"eng-Latn": 1000, "yor-Latn": 10}, exponent=0.5)
        {'eng-Latn': 1.0, 'yor-Latn': 10.0}
    """
    raw = {language: size ** (exponent - 1) for language, size in sizes.items()}
    least = min(raw.values(), default=1.0)
    return {language: round(min(value / least, MOST_TIMES), 6) for language, value in raw.items()}


def balanced(texts: Mapping[str, Sequence[str]], times: Mapping[str, float]) -> Iterator[str]:
    """The texts of all languages, each as often as it counts.

    Args:
        texts: Of each language.
        times: Of ``times_each``. Of a broken number the whole part holds for all texts, and the rest decides, by their
            hashes, which texts come once more.

    Yields:
        Texts, language by language.
    """
    for language, lines in texts.items():
        whole, rest = divmod(times[language], 1)
        for line in lines:
            for _ in range(int(whole) + (rest > 0 and is_held_out(line, rest))):
                yield line
