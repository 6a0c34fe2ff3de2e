"""Word vectors, and the vectors that they give to the tokens of two tokenizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.initialising.material import Space
from polycompress.embeddings.initialising.subword_vectors import subword_vectors
from polycompress.embeddings.initialising.word_subwords import (
    Incidences,
    joined,
    language_coverage,
    word_subwords,
    word_variants,
)
from polycompress.embeddings.loading import load_vectors
from polycompress.embeddings.vectors_directory import RECORD, load_directory
from polycompress.embeddings.word_vectors import WordVectors, join, most_frequent, select_languages
from polycompress.errors import InputError
from polycompress.modeldir.hashes import remembered_sha256
from polycompress.pipelines.aligning.asked import parse_vectors
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.vocab.encoding import encode_ids

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_WORDS: Final = 4096
"""Words that are cut at a time."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class GivenVectors:
    """Word vectors as they were given."""

    vectors: WordVectors
    files: Mapping[str, str]
    """Path -> SHA-256 of what was read."""
    unaligned: tuple[str, ...]
    """Directories of several languages whose vectors nobody brought to one space."""

    def as_dict(self) -> dict[str, Any]:
        """For the record."""
        return {
            "width": self.vectors.width,
            "words": {code: len(self.vectors.rows(code)) for code in self.vectors.languages},
            "files": dict(self.files),
        }


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TokenSpace:
    """The tokens of a tokenizer among word vectors."""

    space: Space
    found: Incidences

    def held(self, vectors: WordVectors) -> dict[str, NDArray[np.bool_]]:
        """By language code, (V,) tokens that its words hold."""
        size = len(self.space.covered)
        held = language_coverage(self.found, vectors.language_of, len(vectors.languages), size)
        return dict(zip(vectors.languages, held, strict=True))

    def uses(self, vectors: WordVectors) -> dict[str, NDArray[np.float64]]:
        """By language code, (V,) how often its words hold each token, by the words' counts where they are known."""
        size = len(self.space.covered)
        counts = np.ones(len(vectors)) if vectors.counts is None else vectors.counts.astype(np.float64)
        language = vectors.language_of[self.found.words]
        uses = {}
        for place, code in enumerate(vectors.languages):
            own = language == place
            uses[code] = np.bincount(
                self.found.subwords[own], counts[self.found.words[own]], minlength=size
            ).astype(np.float64)
        return {code: each for code, each in uses.items() if each.any()}


def read_vectors(specs: Sequence[str], words: int | None = None) -> GivenVectors | None:
    """Read word vectors.

    Args:
        specs: ``[LANG=]PATH`` of directories and files; their vectors are taken to be of one space.
        words: Of each language, the most frequent so many; None for all.

    Returns:
        All of them together; None where none are given.

    Raises:
        InputError: One cannot be read, holds what is no vector, or they do not fit each other.
    """
    parts: list[WordVectors] = []
    files: dict[str, str] = {}
    unaligned: list[str] = []
    for spec in specs:
        language, path = parse_vectors(spec)
        if path.is_dir():
            found = load_directory(path)
            own = found.vectors if language is None else select_languages(found.vectors, [language.code])
            parts.append(own)
            if found.record.get("to") is None and len(own.languages) > 1:
                unaligned.append(str(path))
            names = [RECORD]
            names += [f"{code}.{end}" for code in parts[-1].languages for end in ("words", "safetensors")]
            files |= {str(path / name): remembered_sha256(path / name) for name in names}
        else:
            parts.append(load_vectors(path, language))
            files[str(path)] = remembered_sha256(path)
    if not parts:
        return None
    vectors = join(parts)
    if not len(vectors):
        raise InputError(f"{', '.join(specs)}: holds no word. Train vectors with polycompress vectors train.")
    if words is not None:
        vectors = most_frequent(vectors, words)
    return GivenVectors(vectors=vectors, files=files, unaligned=tuple(unaligned))


def token_space(
    tokenizer: Tokenizer,
    vectors: WordVectors,
    textual: NDArray[np.bool_],
    *,
    label: str = "",
    progress: Progress | None = None,
) -> TokenSpace:
    """Give each token the mean of the vectors of the words that hold it.

    Args:
        tokenizer: Padding and truncation off.
        vectors: Of words.
        textual: (V,) tokens that stand for text; others (unknown tokens) get no vector.
        label: What the work is called.
        progress: Told of the words that are cut.

    Raises:
        InputError: The tokenizers library cannot segment a word.
    """
    parts = []
    for start in range(0, len(vectors), _WORDS):
        rows = range(start, min(start + _WORDS, len(vectors)))
        numbered = [
            (row, variant)
            for row in rows
            for variant in word_variants(vectors.words[row], vectors.languages[vectors.language_of[row]])
        ]
        encodings = list(encode_ids(tokenizer, [variant for _, variant in numbered]))
        parts.append(word_subwords([row for row, _ in numbered], encodings))
        if progress is not None:
            progress(label, len(rows), len(vectors))
    found = joined(parts)
    means, covered = subword_vectors(found, vectors.matrix, len(textual))
    return TokenSpace(space=Space(vectors=means, covered=covered & textual), found=found)
