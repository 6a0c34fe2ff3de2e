"""How loyal a model's responses are to a teacher's, whatever their vocabularies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polycompress.evaluation.loyalty import label_loyalty, linear_cka, probability_loyalty
from polycompress.evaluation.metrics.answer_text import answer_words
from polycompress.pipelines.judging.judges import Response

_LEAST_FOR_CKA = 4


def loyalty_of(student: Response, teacher: Response, language: str) -> dict[str, float]:
    """Loyalty on one part.

    Classes are compared by example; tags by word, of words that have a token in both vocabularies; answers by their
    words, as they are scored; neighbours by which was found.

    Args:
        student: What the student said.
        teacher: What the teacher said of the same examples.
        language: Of the part.

    Returns:
        ``label``, ``probability`` (classes and tags only) and ``cka`` (of four examples or more).
    """
    found = {}
    if student.logits is not None and teacher.logits is not None:
        ours, theirs = _common(student, teacher)
        if len(ours):
            found = {
                "label": label_loyalty(ours, theirs),
                "probability": probability_loyalty(ours, theirs),
            }
    elif student.answers:
        same = [
            _comparable(one, language) == _comparable(other, language)
            for one, other in zip(student.answers, teacher.answers, strict=True)
        ]
        found = {"label": float(np.mean(same))}
    if student.hidden is not None and teacher.hidden is not None and len(student.hidden) >= _LEAST_FOR_CKA:
        found["cka"] = linear_cka(student.hidden, teacher.hidden)
    return found


def mean_loyalty(each: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean over several students."""
    return {name: float(np.mean([one[name] for one in each])) for name in each[0]}


def _common(student: Response, teacher: Response) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The rows of logits that both have."""
    assert student.logits is not None
    assert teacher.logits is not None
    if student.places is None or teacher.places is None:
        return student.logits, teacher.logits
    places = {(example, word): row for row, (example, word) in enumerate(teacher.places.tolist())}
    pairs = [
        (row, places[example, word])
        for row, (example, word) in enumerate(student.places.tolist())
        if (example, word) in places
    ]
    rows = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return student.logits[rows[:, 0]], teacher.logits[rows[:, 1]]


def _comparable(answer: object, language: str) -> object:
    return answer_words(answer, language) if isinstance(answer, str) else answer
