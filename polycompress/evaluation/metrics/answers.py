"""Scores of answers to questions: exact match and F1 over words, as SQuAD v1.1 and MLQA score them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from polycompress.evaluation.metrics.answer_text import answer_words


def answer_scores(prediction: str, answers: Sequence[str], language: str) -> tuple[float, float]:
    """How right one answer is: the best over all answers that count as right.

    Args:
        prediction: Empty where nothing was answered.
        answers: At least one.
        language: Code or name of the language that the answers are in; see ``answer_text`` for what it decides.

    Returns:
        Exact match (0 or 1) and F1 over words (0 to 1).

    Raises:
        ValueError: There is no right answer to compare with.
        InputError: The language is not in the registry.

    Example:
        >>> answer_scores("the Denver Broncos", ["Denver Broncos!", "Carolina"], "en")
        (1.0, 1.0)
        >>> answer_scores("Denver", ["Denver Broncos"], "en")
        (0.0, 0.6666666666666666)
    """
    if not answers:
        raise ValueError("A question without a right answer cannot be scored.")
    given = answer_words(prediction, language)
    right = [answer_words(answer, language) for answer in answers]
    return float(given in right), max(_word_f1(given, words) for words in right)


def _word_f1(given: list[str], right: list[str]) -> float:
    """F1 of two bags of words; 0 where they share none, so also where both are empty."""
    shared = sum((Counter(given) & Counter(right)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(given), shared / len(right)
    return 2 * precision * recall / (precision + recall)
