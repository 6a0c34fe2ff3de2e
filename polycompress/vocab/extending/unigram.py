"""New pieces for Unigram models: trained on their own, then put on the scale of the old ones.

**The scale.** A score is the natural logarithm of a piece's probability in the text a model was trained on. A model
of the new text alone gives its pieces other probabilities than the old model would: a letter sequence of Yoruba is
frequent in Yoruba and rare in a hundred languages. Both models have some thousands of pieces in common, and how far
their scores lie apart there says how far the scales do. New scores are moved by the *median* of these differences, so
that neither full stops nor rare letters decide. They are then kept within the old model's range: below its smallest
score a new one would change the price of unknown characters (``minimum score - 10``), and above its largest a piece
would win against anything.

Old pieces keep their scores bit for bit, so sums of old pieces are what they were. A text changes only where some new
piece beats the old ones: the best path without new pieces is the best old path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from polycompress.vocab.extending.pieces import NewPiece
from polycompress.vocab.training.trainers import DIGITS

LEAST_SHARED: Final = 20
"""With fewer pieces in common the scales are taken as they are."""
LONGEST: Final = 16
"""Characters of a piece, as in the trainers of SentencePiece and of the tokenizers library."""


def scale_offset(old: Mapping[str, float], new: Iterable[tuple[str, float]]) -> float:
    """How far the scores of a new model lie below those of an old one.

    Args:
        old: Scores of the old model's pieces; those of 0 are control pieces and say nothing.
        new: Pieces and scores of a model trained on other text.

    Returns:
        What to add to new scores: the median over the pieces that both have, 0 where these are under ``LEAST_SHARED``.

    Example:
        >>> scale_offset({f"p{i}": -10.0 for i in range(20)}, [(f"p{i}", -7.0) for i in range(20)])
        -3.0
    """
    apart = [old[piece] - score for piece, score in new if old.get(piece, 0.0) < 0 and score < 0]
    return round(float(np.median(apart)), DIGITS) if len(apart) >= LEAST_SHARED else 0.0


def score_range(model: Mapping[str, Any]) -> tuple[float, float]:
    """The smallest score of a model and the largest of its learnt pieces (those below 0)."""
    scores = [float(score) for _, score in model["vocab"]]
    least = min(scores, default=0.0)
    return least, max((score for score in scores if score < 0), default=least)


def scaled_pieces(model: Mapping[str, Any], trained: Sequence[tuple[str, float]]) -> list[NewPiece]:
    """The pieces of a trained model that an old model lacks, with scores on the old one's scale.

    Args:
        model: A checked Unigram ``model`` object.
        trained: Pieces and scores of a model of other text.

    Returns:
        New pieces, by falling score, then by text.
    """
    old = {piece: float(score) for piece, score in model["vocab"]}
    offset = scale_offset(old, trained)
    least, largest = score_range(model)
    fresh = [
        (piece, min(max(round(score + offset, DIGITS), least), largest))
        for piece, score in trained
        if piece not in old
    ]
    fresh.sort(key=lambda entry: (-entry[1], entry[0]))
    return [NewPiece(text=piece, score=score) for piece, score in fresh]


def pieces_without(
    text: str, scores: Mapping[str, float], *, longest: int, unknown: float
) -> list[str | None]:
    """Segment a piece as if it were not in the vocabulary itself.

    Args:
        text: At least one character.
        scores: Of all pieces, those of control pieces left out.
        longest: Characters of the longest piece to try.
        unknown: Price of a character without a piece.

    Returns:
        The pieces of the best path; None for an unknown character. Among equal paths the first found.
    """
    best = [0.0] + [float("-inf")] * len(text)
    came: list[tuple[int, str | None]] = [(0, None)] * (len(text) + 1)
    for end in range(1, len(text) + 1):
        for begin in range(max(0, end - longest), end):
            piece = text[begin:end]
            score = scores.get(piece) if piece != text else None
            if score is None:
                if end - begin > 1:
                    continue
                score, name = unknown, None
            else:
                name = piece
            if best[begin] + score > best[end]:
                best[end], came[end] = best[begin] + score, (begin, name)
    path: list[str | None] = []
    end = len(text)
    while end > 0:
        end, name = came[end]
        path.append(name)
    return path[::-1]
