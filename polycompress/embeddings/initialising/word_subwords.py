"""Which subwords occur in which words, over the ways in which a word stands in text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

_DOTTED_I: Final = frozenset({"aze-Latn", "crh-Latn", "gag-Latn", "kaz-Latn", "tat-Latn", "tur-Latn"})
"""Languages whose i has a dot in capitals too."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Incidences:
    """Pairs of a word and a subword that it holds; one pair a variant of the word and distinct subword."""

    words: NDArray[np.int64]
    """(m,) rows of the word vectors."""
    subwords: NDArray[np.int64]
    """(m,) token ids."""
    pieces: NDArray[np.int64]
    """(m,) how many tokens the variant has."""


def word_variants(word: str, language: str = "") -> tuple[str, ...]:
    """The ways in which a word stands in text.

    Args:
        word: As the word vectors spell it; a space in front says that it begins at a word boundary.
        language: Its language (``tur-Latn``), for its rules of capitals.

    Returns:
        The word, the word after a space, and capitalised after a space, without repetitions. A word that begins with a
        space is taken as it is and capitalised; a second space in front of it, as in the authors' code, would only
        measure how tokenizers treat double spaces.

    Reference:
        Liu et al. 2024 (OFA), section 3, as in the authors' code. Capitals here follow Unicode's title case (``ǆ``,
        ``ß``) and the Turkic i, where the authors' code takes the first code point's upper case.

    Example:
        >>> word_variants("house")
        ('house', ' house', ' House')
    """
    bare = word.removeprefix(" ")
    if not bare.strip():
        return ()
    first = "İ" if bare[0] == "i" and language in _DOTTED_I else bare[0].title()
    forms = (*(() if word.startswith(" ") else (word,)), " " + bare, " " + first + bare[1:])
    return tuple(dict.fromkeys(forms))


def word_subwords(word_of: Sequence[int], encodings: Sequence[Sequence[int]]) -> Incidences:
    """List which subwords the variants of words hold.

    Args:
        word_of: For each variant, the row of its word.
        encodings: For each variant, its token ids, without special tokens around.

    Returns:
        Each distinct subword of each variant once.

    Raises:
        ValueError: There are not as many encodings as variants.
    """
    if len(word_of) != len(encodings):
        raise ValueError(f"{len(encodings)} encodings for {len(word_of)} variants")
    lengths = np.fromiter(map(len, encodings), dtype=np.int64, count=len(encodings))
    ids = np.fromiter(chain.from_iterable(encodings), dtype=np.int64, count=int(lengths.sum()))
    variants = np.repeat(np.arange(len(encodings)), lengths)
    span = int(ids.max(initial=0)) + 1
    variants, ids = np.divmod(np.unique(variants * span + ids), span)
    words = np.asarray(word_of, dtype=np.int64)[variants]
    return Incidences(words=words, subwords=ids, pieces=lengths[variants])


def joined(parts: Sequence[Incidences]) -> Incidences:
    """The incidences of batches of variants together."""
    return Incidences(
        words=np.concatenate([part.words for part in parts]),
        subwords=np.concatenate([part.subwords for part in parts]),
        pieces=np.concatenate([part.pieces for part in parts]),
    )


def language_coverage(
    found: Incidences, language_of: NDArray[np.integer], languages: int, vocabulary: int
) -> NDArray[np.bool_]:
    """Which languages' words hold which tokens.

    Args:
        found: The target tokenizer's incidences.
        language_of: (N,) the language of each word, as a number.
        languages: How many there are.
        vocabulary: Tokens.

    Returns:
        (languages, vocabulary).
    """
    held = np.zeros((languages, vocabulary), dtype=np.bool_)
    held[language_of[found.words], found.subwords] = True
    return held


def counts_by_language(
    rule: NDArray[np.uint8], held: NDArray[np.bool_], names: Sequence[str], rules: Sequence[str]
) -> dict[str, dict[str, int]]:
    """How many tokens of each language each rule makes.

    Args:
        rule: (V_t,) of a plan.
        held: (languages, V_t) see `language_coverage`.
        names: Names of the languages.
        rules: Names of the rules, by their numbers.

    Returns:
        Language -> rule -> tokens. A token that several languages use counts for each; one that no word holds is
        under "(none)".
    """
    rows = {**dict(zip(names, held, strict=True)), "(none)": ~held.any(axis=0)}
    counts = {name: np.bincount(rule[mask], minlength=len(rules)) for name, mask in rows.items()}
    return {name: {each: int(own[n]) for n, each in enumerate(rules)} for name, own in counts.items()}
