"""One language brought to another's space by a rotation: from a lexicon, or from identical strings alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.alignment import Matrix, Refined, normalised, procrustes, refine
from polycompress.embeddings.lexicons import Pairs, as_known
from polycompress.embeddings.word_vectors import WordVectors
from polycompress.errors import InputError
from polycompress.languages import Language
from polycompress.pipelines.aligning.asked import Given, by_frequency, places
from polycompress.pipelines.aligning.judging import UNJUDGED, Judged, translation

FEWEST_ANCHORS = 5


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rotated:
    """One language's vectors in the other's space."""

    matrix: Matrix
    """(n, d) rows of length one."""
    rotation: Matrix
    mean: Matrix
    anchors: int
    """Pairs that the rotation was fitted to."""
    refined: Refined | None
    judged: Judged


def centred(vectors: WordVectors, code: str) -> tuple[Matrix, Matrix]:
    """A language's vectors of length one around their mean, and that mean (of vectors of length one)."""
    matrix = vectors.matrix[vectors.rows(code)]
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    scaled = np.divide(matrix, lengths, out=np.zeros_like(matrix), where=lengths > 0)
    mean = scaled.mean(axis=0, dtype=np.float64).astype(np.float32)
    return normalised(matrix, mean), mean


def rotate(
    given: Given,
    language: Language,
    target: Matrix,
    *,
    learn: Sequence[tuple[str, str]] | None,
    judge: Sequence[tuple[str, str]],
    rounds: int,
) -> Rotated:
    """Fit a rotation, refine it if asked, and judge it.

    Args:
        given: The vectors.
        language: Which to rotate.
        target: (m, d) vectors of the target language, as ``centred`` gives them.
        learn: Words and translations; None: what is spelt the same in both languages.
        judge: Words and translations that are not among those; empty: it is not judged.
        rounds: Of refinement at most; 0: none.

    Raises:
        InputError: Too few words have vectors on both sides.
    """
    words, goals = places(given.vectors, language.code), places(given.vectors, given.target.code)
    matrix, mean = centred(given.vectors, language.code)
    anchors = (
        identical(words, goals) if learn is None else _anchors(as_known(learn, words, goals), words, goals)
    )
    if len(anchors) < FEWEST_ANCHORS:
        what = (
            "words are spelt the same in both"
            if learn is None
            else "words of the lexicon have vectors on both sides"
        )
        raise InputError(
            f"{language.code}: only {len(anchors)} {what}, too few for a rotation (at least {FEWEST_ANCHORS}). Give a "
            "lexicon with words of the text that the vectors were trained on."
        )
    rotation = procrustes(matrix[anchors[:, 0]], target[anchors[:, 1]])
    refined = None
    if rounds:
        order = by_frequency(given.vectors, language.code), by_frequency(given.vectors, given.target.code)
        refined = refine(matrix[order[0]], target[order[1]], rotation, rounds=rounds)
        rotation = refined.rotation
    turned = matrix @ rotation
    judged = UNJUDGED
    if judge:
        before = translation(judge, (words, goals), (matrix, target))
        after = translation(judge, (words, goals), (turned, target))
        judged = Judged(by="lexicon", before=before, after=after)
    return Rotated(
        matrix=turned, rotation=rotation, mean=mean, anchors=len(anchors), refined=refined, judged=judged
    )


def identical(words: dict[str, int], goals: dict[str, int]) -> NDArray[np.int64]:
    """(k, 2) places of what is spelt the same in two languages, names and numerals above all."""
    found = [(place, goals[word]) for word, place in words.items() if word in goals]
    return np.array(found, np.int64).reshape(-1, 2)


def _anchors(pairs: Pairs, words: dict[str, int], goals: dict[str, int]) -> NDArray[np.int64]:
    found = [(words[one], goals[other]) for one, other in pairs if one in words and other in goals]
    return np.array(found, np.int64).reshape(-1, 2)
