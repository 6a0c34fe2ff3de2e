"""Vectors of subwords: the mean of the words that hold them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.initialising.word_subwords import Incidences

_BLOCK: Final = 8192
"""Pairs of words and subwords whose vectors are in memory at a time."""
_BITS: Final = 62
"""Bits of a sum, without its sign."""


def subword_vectors(
    found: Incidences,
    matrix: NDArray[np.floating],
    vocabulary: int,
    *,
    word_weights: NDArray[np.floating] | None = None,
    by_pieces: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Give each subword the mean of the vectors of the words that hold it.

    Sums are of whole numbers (values rounded to a grid some 2^-40 of the largest), so neither the words' order nor how
    they were put into batches can be seen in the result.

    Args:
        found: Which subwords the words hold; a word counts once a variant.
        matrix: (N, d) the words' vectors.
        vocabulary: V, more than any subword's id.
        word_weights: (N,) weights of words, such as their frequencies, not below 0; all alike by default, as in the
            paper.
        by_pieces: Whether a word also counts by the inverse of the number of its pieces, so that a subword that is
            most of a word says more about it.

    Returns:
        (V, d) the means, 0 where no word (of positive weight) holds the subword; and (V,) where one does.

    Raises:
        ValueError: An id or a row is out of range, or a weight is below 0 or not finite.

    Reference:
        Liu et al. 2024 (OFA), section 3: u_s = 1/|N(s)| sum of W_w over w in N(s). Weighting by frequency: Minixhofer
        et al., "WECHSEL" (NAACL 2022), section 3.
    """
    if len(found.words) and (found.words.max() >= len(matrix) or found.subwords.max() >= vocabulary):
        raise ValueError(
            f"word {found.words.max()} and subword {found.subwords.max()} for {len(matrix)} words "
            f"and {vocabulary} tokens"
        )
    weights = np.ones(len(found.words))
    if word_weights is not None:
        if not (np.isfinite(word_weights).all() and (np.asarray(word_weights) >= 0).all()):
            raise ValueError("weights of words must be finite and not below 0")
        weights *= word_weights[found.words]
    if by_pieces:
        weights /= found.pieces
    heard = np.flatnonzero(weights)
    order = heard[np.argsort(found.subwords[heard], kind="stable")]
    words, subwords, weights = found.words[order], found.subwords[order], weights[order]
    most = int(np.bincount(subwords, minlength=1).max())
    heaviest = float(weights.max(initial=0.0))
    largest = max(float(matrix.max(initial=0.0)), -float(matrix.min(initial=0.0)))
    if not np.isfinite(largest):
        raise ValueError("the word vectors hold values that are not finite")
    # The weights are one more column, which becomes what the sums are divided by.
    grid = np.full(matrix.shape[1] + 1, _grid(heaviest * largest, most))
    grid[-1] = _grid(heaviest, most)
    vectors = np.zeros((vocabulary, matrix.shape[1]), dtype=np.float32)
    covered = np.zeros(vocabulary, dtype=np.bool_)

    def finish(tokens: NDArray[np.int64], sums: NDArray[np.int64]) -> None:
        heard = np.flatnonzero(sums[: len(tokens), -1])  # weights far below the heaviest vanish
        tokens, means = tokens[heard], sums[heard] / grid
        vectors[tokens], covered[tokens] = means[:, :-1] / means[:, -1:], True

    open_token, open_sum = subwords[:1], np.zeros((1, len(grid)), dtype=np.int64)
    for start in range(0, len(words), _BLOCK):
        part = slice(start, start + _BLOCK)
        own, share = subwords[part], weights[part, None]
        terms = np.hstack([matrix[words[part]] * share, share])
        firsts = np.flatnonzero(np.r_[True, own[1:] != own[:-1]])
        sums = np.add.reduceat(np.rint(terms * grid).astype(np.int64), firsts, axis=0)
        if own[0] == open_token[0]:
            sums[0] += open_sum[0]
        else:
            finish(open_token, open_sum)
        finish(own[firsts[:-1]], sums[:-1])
        open_token, open_sum = own[-1:], sums[-1:]
    finish(open_token, open_sum)
    return vectors, covered


def _grid(largest: float, terms: int) -> float:
    """The power of two by which values are multiplied so that a sum of so many stays within its bits."""
    if largest == 0:
        return 1.0
    exponent = _BITS - int(np.ceil(np.log2(largest))) - int(np.ceil(np.log2(terms + 1))) - 1
    return float(2.0 ** np.clip(exponent, -900, 900))
