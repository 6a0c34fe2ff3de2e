"""Words, their languages and their vectors, as one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError

MAX_WIDTH: Final = 4096
"""Values of a vector at most: what claims more is no file of word vectors."""
MAX_WORDS: Final = 20_000_000
"""Words of a file at most."""
_SHOWN: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WordVectors:
    """Vectors of words, each word of one language; a spelling may be a word of several."""

    words: tuple[str, ...]
    """As written. A space at an end marks the boundary of a word, where the file they come from knows such marks."""
    languages: tuple[str, ...]
    """Codes such as ``yor-Latn``, each once; of a language that the registry does not know ISO 639-3 alone."""
    language_of: NDArray[np.int16]
    """(n,) Of each word its place in ``languages``."""
    matrix: NDArray[np.float32]
    """(n, d) Finite."""
    counts: NDArray[np.int64] | None = None
    """(n,) How often each word occurred, where that is known."""

    def __post_init__(self) -> None:
        """Check that the parts fit each other.

        Raises:
            InputError: A vector is not finite, or a word comes twice in a language; the words are named.
            ValueError: Shapes, types or places do not fit.
        """
        n = len(self.words)
        if self.matrix.ndim != 2 or self.matrix.dtype != np.float32 or len(self.matrix) != n:
            raise ValueError(f"{self.matrix.dtype} {self.matrix.shape} is no float32 matrix of {n} rows")
        if self.language_of.shape != (n,) or self.language_of.dtype != np.int16:
            raise ValueError(f"{n} words need as many places of languages (int16)")
        if self.counts is not None and (self.counts.shape != (n,) or self.counts.dtype != np.int64):
            raise ValueError(f"{n} words need as many counts (int64)")
        if len(set(self.languages)) != len(self.languages):
            raise ValueError("a language is named twice")
        if n and not 0 <= int(self.language_of.min()) <= int(self.language_of.max()) < len(self.languages):
            raise ValueError("a word's language is none of the languages")
        bad = np.flatnonzero(~np.isfinite(self.matrix).all(axis=1))
        if len(bad):
            raise InputError(
                f"{_some(self, bad)}: NaN or infinite values. Train or export these vectors anew."
            )
        if len(again := _repeated(self)):
            raise InputError(f"{_some(self, again)}: more than one vector. Keep one of each.")

    def __len__(self) -> int:
        return len(self.words)

    @property
    def width(self) -> int:
        """Values of each vector."""
        return int(self.matrix.shape[1])

    def rows(self, language: str) -> NDArray[np.int64]:
        """Places of a language's words, rising.

        Raises:
            ValueError: There is no such language here.
        """
        return np.flatnonzero(self.language_of == self.languages.index(language))


def of_one_language(
    language: str,
    words: Sequence[str],
    matrix: NDArray[np.float32],
    counts: NDArray[np.int64] | None = None,
) -> WordVectors:
    """Vectors of one language's words.

    Args:
        language: Its code.
        words: Each once.
        matrix: (n, d).
        counts: (n,) Of the words, where known.
    """
    return WordVectors(
        words=tuple(words),
        languages=(language,),
        language_of=np.zeros(len(words), np.int16),
        matrix=matrix,
        counts=counts,
    )


def take(vectors: WordVectors, rows: NDArray[np.int64]) -> WordVectors:
    """Some of the words, in the order given; languages without any are left out.

    Args:
        vectors: All.
        rows: (k,) Places, each once.
    """
    kept = vectors.language_of[rows]
    present = [place for place in range(len(vectors.languages)) if bool((kept == place).any())]
    renamed = np.zeros(len(vectors.languages), np.int16)
    renamed[present] = np.arange(len(present), dtype=np.int16)
    return WordVectors(
        words=tuple(vectors.words[row] for row in rows.tolist()),
        languages=tuple(vectors.languages[place] for place in present),
        language_of=renamed[kept],
        matrix=np.ascontiguousarray(vectors.matrix[rows]),
        counts=None if vectors.counts is None else vectors.counts[rows],
    )


def select_languages(vectors: WordVectors, languages: Sequence[str]) -> WordVectors:
    """The words of some languages, in their order.

    Raises:
        InputError: A language has no vectors here; all such are named.
    """
    if missing := [code for code in languages if code not in vectors.languages]:
        raise InputError(
            f"There are no vectors of {', '.join(missing)}, only of {', '.join(vectors.languages) or 'none'}."
        )
    places = [vectors.languages.index(code) for code in languages]
    return take(vectors, np.flatnonzero(np.isin(vectors.language_of, places)))


def most_frequent(vectors: WordVectors, k: int) -> WordVectors:
    """The ``k`` most frequent words of each language, in their order.

    Of words that are equally frequent the first ones are kept; where no counts are known the first of all, since files
    of word vectors are ordered by frequency.

    Raises:
        ValueError: ``k`` is below 1.
    """
    if k < 1:
        raise ValueError(f"at least one word of each language is kept, not {k}")
    kept = []
    for code in vectors.languages:
        rows = vectors.rows(code)
        if vectors.counts is not None:
            rows = rows[np.argsort(-vectors.counts[rows], kind="stable")]
        kept.append(rows[:k])
    return take(vectors, np.sort(np.concatenate(kept)) if kept else np.zeros(0, np.int64))


def join(parts: Sequence[WordVectors]) -> WordVectors:
    """One table of several, one after another.

    Counts are kept where every part has them.

    Args:
        parts: At least one, of one width; each language in one part only.

    Raises:
        InputError: Their widths differ, or a language is in two.
    """
    if not parts:
        raise ValueError("there is nothing to join")
    widths = {part.width: ", ".join(part.languages) for part in parts}
    if len(widths) > 1:
        told = "; ".join(f"{width} of {names}" for width, names in widths.items())
        raise InputError(f"Vectors of different widths cannot be joined: {told}.")
    names = [code for part in parts for code in part.languages]
    if len(set(names)) < len(names):
        twice = sorted({code for code in names if names.count(code) > 1})
        raise InputError(f"There are vectors of {', '.join(twice)} more than once. Name each language once.")
    before, shifted = 0, []
    for part in parts:
        shifted.append(part.language_of + np.int16(before))
        before += len(part.languages)
    known = [part.counts for part in parts if part.counts is not None]
    return WordVectors(
        words=tuple(word for part in parts for word in part.words),
        languages=tuple(names),
        language_of=np.concatenate(shifted).astype(np.int16),
        matrix=np.concatenate([part.matrix for part in parts]),
        counts=np.concatenate(known) if len(known) == len(parts) else None,
    )


def _repeated(vectors: WordVectors) -> NDArray[np.int64]:
    """Places of words that came before in their language."""
    seen: set[tuple[int, str]] = set()
    again = []
    for row, key in enumerate(zip(vectors.language_of.tolist(), vectors.words, strict=True)):
        if key in seen:
            again.append(row)
        seen.add(key)
    return np.array(again, np.int64)


def _some(vectors: WordVectors, rows: NDArray[np.int64]) -> str:
    """The first of some words, for messages."""
    named = [
        f"{vectors.words[row]!r} ({vectors.languages[vectors.language_of[row]]})"
        for row in rows[:_SHOWN].tolist()
    ]
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return ", ".join(named) + more
