"""A language's evidence: the distribution over token ids that its text is expected to have.

It is mixed from up to five parts: the counts of a corpus, the counts of word frequencies, English words (names and
loans are everywhere), and two weak priors that rank the pieces no list has shown: those that the language's letters
can spell, and those of Latin letters. The weights were chosen on held-out German, French and Turkish text
(``eval/quality``), not on the sentences that results are reported for.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.languages import Language, is_script_character

BACKGROUND_SHARE: Final = 0.002
"""Weight of English words beside a language's own evidence."""
LETTERS_SHARE: Final = 0.001
"""Weight of the letters prior for languages written with spaces, whose word lists show most of their pieces."""
LETTERS_SHARE_UNSPACED: Final = 0.1
"""The same for languages written without spaces: word lists say little about their pieces that span words."""
LATIN_SHARE: Final = 0.0005
"""Weight of the prior over pieces of Latin letters, its own or foreign: names keep their spelling everywhere."""
LETTER_COVERAGE: Final = 0.9995
"""A language's letters are the commonest ones that make up this share of its text."""
LONGEST_PIECE: Final = 16
"""Characters of a piece that the priors look at; longer ones are left to lists and texts."""

Distribution = NDArray[np.float64]
_LATIN: Final = "".join(chr(number) for number in range(0x250) if chr(number).isalpha())


def expected_shares(
    language: Language,
    *,
    corpus: Distribution | None,
    words: Distribution | None,
    background: Distribution | None,
    preference: Distribution,
    texts: Sequence[str | None],
) -> Distribution:
    """Mix all that is known of a language into one distribution over token ids.

    Args:
        language: Decides which letters count and how far word lists are trusted.
        corpus: (V,) counts of a corpus, or None.
        words: (V,) counts of word frequencies, or None.
        background: (V,) counts of English word frequencies, or None to use neither them nor the priors: then only
            what the corpus shows can be kept.
        preference: (V,) see ``piece_preference``.
        texts: Surface text of each piece.

    Returns:
        (V,) summing to 1.
    """
    own = mix([(part, 1.0) for part in (corpus, words) if part is not None])
    if background is None:
        return own
    latin = "Latn" in language.scripts
    characters = character_matrix(texts)
    letters = "".join(
        character
        for character in letters_of(own, characters)
        if is_script_character(character, language) and (latin or not character.isascii())
    )
    share = LETTERS_SHARE if language.spaced else LETTERS_SHARE_UNSPACED
    return mix(
        [
            (own, 1.0),
            (background, BACKGROUND_SHARE),
            (letters_prior(preference, characters, letters), share),
            (letters_prior(preference, characters, _LATIN), LATIN_SHARE),
        ]
    )


def piece_preference(document: Mapping[str, Any], vocab_size: int) -> Distribution:
    """How common each piece is in the tokenizer's own view, all languages together.

    Unigram scores are log probabilities. BPE and WordPiece vocabularies are sorted by frequency, so the id stands for
    the rank in Zipf's law.

    Args:
        document: The ``tokenizer.json`` state.
        vocab_size: V.

    Returns:
        (V,) not below zero; not normalised.
    """
    model = document["model"]
    if model.get("type") == "Unigram":
        scores = np.full(vocab_size, -np.inf)
        vocabulary = model["vocab"]
        scores[: len(vocabulary)] = np.fromiter((entry[1] for entry in vocabulary), dtype=np.float64)
        preference: Distribution = np.exp(np.minimum(scores, 0.0))
        return preference
    return 1.0 / (np.arange(vocab_size, dtype=np.float64) + 100.0)


def normalised(counts: NDArray[np.float64] | NDArray[np.int64]) -> Distribution:
    """Counts divided by their sum; zeros stay zeros."""
    total = float(counts.sum())
    return counts.astype(np.float64) / (total if total > 0 else 1.0)


def mix(parts: Sequence[tuple[Distribution, float]]) -> Distribution:
    """The weighted mixture of distributions.

    Args:
        parts: (V,) distributions with their weights; parts without any mass are left out.

    Returns:
        (V,) summing to 1, or zeros where no part has mass.
    """
    mixed = np.zeros_like(parts[0][0], dtype=np.float64)
    for part, weight in parts:
        mixed += weight * normalised(part)
    return normalised(mixed)


def letters_of(distribution: Distribution, characters: NDArray[np.uint32]) -> str:
    """The letters that a language is written with, judged by the pieces it uses.

    Args:
        distribution: (V,) shares of tokens.
        characters: (V, L) see ``character_matrix``.

    Returns:
        The commonest letters and marks that together make up ``LETTER_COVERAGE`` of all, each with its other case.
    """
    used = np.flatnonzero(distribution)
    weights = np.repeat(distribution[used], characters.shape[1])
    totals = np.bincount(characters[used].ravel(), weights)
    mass = {chr(number): float(totals[number]) for number in np.flatnonzero(totals).tolist()}
    by_share = sorted(mass.items(), key=lambda item: (-item[1], item[0]))
    alphabetic = [(character, share) for character, share in by_share if _is_letter(character)]
    total = sum(share for _, share in alphabetic)
    letters: set[str] = set()
    reached = 0.0
    for character, share in alphabetic:
        if reached >= LETTER_COVERAGE * total:
            break
        letters.update((character, *character.lower(), *character.upper()))
        reached += share
    return "".join(sorted(letters))


def character_matrix(texts: Sequence[str | None]) -> NDArray[np.uint32]:
    """The characters of each piece as code points.

    Args:
        texts: Surface text of each piece.

    Returns:
        (V, L) code points, L at most ``LONGEST_PIECE``; zeros behind the end. Longer pieces and ids without a token
        hold the number of no character, so that no set of letters can spell them.
    """
    stranger = "\U0010ffff"
    short = [text if text and len(text) <= LONGEST_PIECE else stranger for text in texts]
    table = np.array(short, dtype=f"<U{LONGEST_PIECE}")
    return table.view(np.uint32).reshape(len(short), LONGEST_PIECE)


def letters_prior(preference: Distribution, characters: NDArray[np.uint32], letters: str) -> Distribution:
    """A distribution over the pieces that consist of some letters only.

    Args:
        preference: (V,) how common each piece is in the tokenizer's own view, whatever the language, not below 0.
        characters: (V, L) see ``character_matrix``.
        letters: The letters allowed; a space in front always is.

    Returns:
        (V,) ``preference`` over those pieces, normalised; zero elsewhere.
    """
    allowed = np.zeros(0x110000, dtype=bool)
    allowed[[0, ord(" "), *map(ord, letters)]] = True
    return normalised(np.where(allowed[characters].all(axis=1), preference, 0.0))


def _is_letter(character: str) -> bool:
    return character.isalpha() or unicodedata.category(character).startswith("M")
