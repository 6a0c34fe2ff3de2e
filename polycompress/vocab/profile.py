"""How well a vocabulary suits a language: fertility, pieces of characters, letters, and what languages share.

All functions are pure: arrays in, arrays out. A word is what white space separates, punctuation attached to it
included, so that words times fertility is the length of a text in tokens.

Reference: Ács, "Exploring BERT's Vocabulary" (2019), http://juditacs.github.io/2019/02/19/bert-tokenization-stats.html
(fertility); Rust et al., "How Good is Your Tokenizer? On the Monolingual Performance of Multilingual Language Models"
(ACL 2021), section 4.2 (fertility and the share of continued words), https://arxiv.org/abs/2012.15613.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import regex
from numpy.typing import NDArray

from polycompress.vocab.alphabet import BYTE_PIECES, symbol_bytes
from polycompress.vocab.document import is_byte_level, pieces

Mask = NDArray[np.bool_]
Distribution = NDArray[np.float64]

SHARED_FROM: Final = 1e-5
"""A token that is at least one in so many of a language's tokens is one that the language uses."""

_BROKEN: Final = "\N{REPLACEMENT CHARACTER}"
_WORD = re.compile(r"\S+")
_LETTERS = regex.compile(r"[\p{L}\p{M}\p{N}]")


@dataclass(frozen=True, kw_only=True, slots=True)
class WordFigures:
    """What words cost; weighted where the texts have weights."""

    words: float
    """Sum of the weights of all words."""
    tokens_per_word: float
    """Fertility: all tokens by all words, at least 1 unless texts hold what the tokenizer drops."""
    continued: float
    """Share of words whose letters and digits take more than one token; punctuation around them is left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LetterCoverage:
    """How a vocabulary writes the letters that a language needs beyond ASCII."""

    letters: int
    """Letters asked for."""
    single: int
    """Those that are a piece of their own, with or without a word boundary."""
    missing: tuple[str, ...]
    """Those that become an unknown token, bytes or nothing, in the order given."""

    @property
    def share(self) -> float:
        """Share of the letters that are written without unknown tokens and bytes; 1 where none is asked for."""
        return 1 - len(self.missing) / self.letters if self.letters else 1.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Overlap:
    """What languages share of a vocabulary."""

    codes: tuple[str, ...]
    """L languages."""
    jaccard: NDArray[np.float64]
    """(L, L) see `weighted_jaccard`; symmetric, 1 on the diagonal."""
    used_also: NDArray[np.float64]
    """(L, L) see `mass_used_also`; of the row's tokens on what the column uses too."""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``, with the definitions."""
        return {
            "languages": list(self.codes),
            "jaccard": self.jaccard.tolist(),
            "used_also": self.used_also.tolist(),
            "definitions": {"jaccard": JACCARD, "used_also": USED_ALSO},
        }


JACCARD: Final = (
    "weighted Jaccard index: over all tokens of whole characters with a letter, mark or digit, the sum of the smaller "
    "of the two languages' token shares, divided by the sum of the larger"
)
USED_ALSO: Final = (
    "of the row language's tokens of the same kind, the share on those that are at least one in "
    f"{1 / SHARED_FROM:,.0f} of the column language's"
)


def partial_pieces(document: Mapping[str, Any], texts: Sequence[str | None]) -> Mask:
    """Pieces that are no whole characters: byte-fallback pieces, and byte-level ones that cut a character.

    Args:
        document: The state of a checked tokenizer.
        texts: Surface text of each piece.

    Returns:
        (V,) true for those pieces.
    """
    partial = np.zeros(len(texts), dtype=np.bool_)
    if is_byte_level(document):
        # Only what was not readable as text has to be looked at: the replacement character may also be meant.
        broken = [token for token, text in enumerate(texts) if text is not None and _BROKEN in text]
        names = pieces(document) if broken else []
        partial[[token for token in broken if _is_cut(names[token] or "")]] = True
    elif document["model"].get("byte_fallback"):
        bytes_ = frozenset(BYTE_PIECES)
        partial[[token for token, text in enumerate(texts) if text in bytes_]] = True
    return partial


def lettered_pieces(texts: Sequence[str | None], tokens: Collection[int]) -> Mask:
    """Pieces that hold a letter, mark or digit, or that stand for text that cannot be read.

    Args:
        texts: Surface text of each piece.
        tokens: The ids to look at.

    Returns:
        (V,) true for those among them.
    """
    lettered = np.zeros(len(texts), dtype=np.bool_)
    for token in tokens:
        text = texts[token]
        lettered[token] = text is None or _BROKEN in text or _LETTERS.search(text) is not None
    return lettered


def blank_pieces(texts: Sequence[str | None], tokens: Collection[int]) -> Mask:
    """Pieces that are only space.

    Args:
        texts: Surface text of each piece.
        tokens: The ids to look at.

    Returns:
        (V,) true for those among them.
    """
    blank = np.zeros(len(texts), dtype=np.bool_)
    for token in tokens:
        text = texts[token]
        blank[token] = text is not None and not text.strip()
    return blank


def word_figures(
    texts: Sequence[str],
    tokens: Sequence[Sequence[int]],
    starts: Sequence[Sequence[int]],
    lettered: Mask,
    weights: Sequence[float] | NDArray[np.float64] | None = None,
) -> WordFigures | None:
    """Count tokens by words that white space separates.

    A token belongs to the first word that ends behind the token's first character; one behind a text's last word
    belongs to none, but to all tokens.

    Args:
        texts: N texts.
        tokens: Token ids of each text.
        starts: Where in its text each token begins, in characters.
        lettered: (V,) tokens that are more than punctuation and space, bytes and the unknown token among them.
        weights: (N,) of each text; 1 by default.

    Returns:
        The figures; None where there is no word.
    """
    ends = [[match.end() for match in _WORD.finditer(text)] for text in texts]
    words = np.array(list(map(len, ends)), dtype=np.int64)
    lengths = np.array(list(map(len, tokens)), dtype=np.int64)
    if not words.sum():
        return None
    weight = np.ones(len(texts)) if weights is None else np.asarray(weights, dtype=np.float64)
    # All texts as one line: every place is counted from the line's beginning, words stay apart by their text.
    base = np.cumsum([0, *(len(text) + 1 for text in texts[:-1])])
    word_ends = _flat(ends) + np.repeat(base, words)
    text_of_word = np.repeat(np.arange(len(texts)), words)
    text_of_token = np.repeat(np.arange(len(texts)), lengths)
    word = np.searchsorted(word_ends, _flat(starts) + np.repeat(base, lengths), side="right")
    inside = word < len(word_ends)
    inside[inside] = text_of_word[word[inside]] == text_of_token[inside]
    core = inside & lettered[_flat(tokens)]
    per_word = np.bincount(word[core], minlength=len(word_ends))
    total = float((weight * words).sum())
    return WordFigures(
        words=total,
        tokens_per_word=float((weight * lengths).sum()) / total,
        continued=float(weight[text_of_word[per_word > 1]].sum()) / total,
    )


def letter_coverage(
    letters: str, tokens: Sequence[Sequence[int]], singles: Collection[str], unreadable: Mask, blank: Mask
) -> LetterCoverage:
    """Which letters a vocabulary can write.

    Args:
        letters: Each once.
        tokens: Token ids of each letter on its own.
        singles: Characters that are a piece of their own.
        unreadable: (V,) the unknown token and pieces that are no whole characters.
        blank: (V,) pieces that are only space, which say nothing of the letter beside them.

    Returns:
        The coverage.
    """
    missing = tuple(
        letter
        for letter, ids in zip(letters, tokens, strict=True)
        if any(unreadable[token] for token in ids) or all(blank[token] for token in ids)
    )
    single = set(singles) - set(missing)
    return LetterCoverage(
        letters=len(letters), single=sum(letter in single for letter in letters), missing=missing
    )


def weighted_jaccard(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """What pairs of languages share of a vocabulary, by how much they use it.

    Args:
        shares: (L, V) each row a distribution over token ids.

    Returns:
        (L, L) sum of minima by sum of maxima: 1 for equal distributions, 0 for those without a common token.
        Rows without mass share nothing.
    """
    count = len(shares)
    result = np.eye(count)
    for row in range(count - 1):
        least = np.minimum(shares[row], shares[row + 1 :]).sum(axis=1)
        most = shares[row].sum() + shares[row + 1 :].sum(axis=1) - least
        result[row, row + 1 :] = np.divide(least, most, out=np.zeros_like(least), where=most > 0)
    return np.maximum(result, result.T)


def mass_used_also(shares: NDArray[np.float64], least: float = SHARED_FROM) -> NDArray[np.float64]:
    """Of one language's tokens, the share on tokens that another language uses too.

    Args:
        shares: (L, V) each row a distribution over token ids.
        least: Share of a language's tokens from which on it uses a token.

    Returns:
        (L, L) the row's mass on what the column uses; not symmetric, and below 1 on the diagonal where a language
        has tokens that are rarer than ``least``.
    """
    result: NDArray[np.float64] = shares @ (shares >= least).T.astype(np.float64)
    return result


def _is_cut(piece: str) -> bool:
    """Whether a byte-level piece is not made of whole characters."""
    raw = symbol_bytes(piece)
    if raw is None:
        return False
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


def _flat(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    return np.fromiter(chain.from_iterable(rows), dtype=np.int64)
