"""Vectors of subwords out of vectors of character n-grams, as fastText has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray


def character_ngrams(text: str, shortest: int, longest: int) -> list[str]:
    """The n-grams of a text, by length and place.

    Example:
        >>> character_ngrams("abc", 2, 3)
        ['ab', 'bc', 'abc']
    """
    return [
        text[start : start + size]
        for size in range(shortest, longest + 1)
        for start in range(len(text) - size + 1)
    ]


def ngram_vectors(
    forms: Sequence[bytes | None],
    lookup: Callable[[str], NDArray[np.floating] | None],
    dimension: int,
    *,
    shortest: int = 3,
    longest: int = 6,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Give each token the sum of the vectors of its n-grams.

    Args:
        forms: By id, the bytes that a token stands for, None for special tokens. A space in front becomes ``<`` and one
            behind ``>``, as fastText marks the ends of words.
        lookup: The vector of an n-gram, (d,), or None where there is none.
        dimension: d.
        shortest: Characters of the shortest n-grams.
        longest: Characters of the longest.

    Returns:
        (V, d) and (V,) tokens with at least one n-gram that has a vector; 0 elsewhere. Tokens that are no whole
        characters have none.

    Reference:
        Minixhofer et al., "WECHSEL" (NAACL 2022), section 3.1: u_x is the sum of w_g over the n-grams g of x.
    """
    vectors = np.zeros((len(forms), dimension), dtype=np.float32)
    covered = np.zeros(len(forms), dtype=np.bool_)
    for number, form in enumerate(forms):
        text = _text(form)
        known = [
            vector
            for gram in character_ngrams(text, shortest, longest)
            if (vector := lookup(gram)) is not None
        ]
        if known:
            vectors[number] = np.sum(known, axis=0, dtype=np.float64)
            covered[number] = True
    return vectors, covered


def _text(form: bytes | None) -> str:
    try:
        text = (form or b"").decode("utf-8")
    except UnicodeDecodeError:
        return ""
    if not text.strip():
        return ""
    begins, ends = text.startswith(" "), text.endswith(" ")
    return "<" * begins + text.strip() + ">" * ends
