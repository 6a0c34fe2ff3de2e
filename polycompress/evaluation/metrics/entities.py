"""Scores of named entities: an entity counts as found where its type, its start and its end are right.

The same numbers as ``seqeval`` in its default mode (``strict=False``), which reads tags as the script of CoNLL does: an
``I-`` tag that continues nothing begins an entity. Counts of each sentence are kept apart, so that intervals can be
drawn over sentences.

Reference:
    Tjong Kim Sang and De Meulder, "Introduction to the CoNLL-2003 Shared Task", 2003,
    https://aclanthology.org/W03-0419; ``seqeval``, https://github.com/chakki-works/seqeval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_PREFIXES: Final = frozenset("BIES")


@dataclass(frozen=True, slots=True)
class Scores:
    """Precision, recall and their harmonic mean, each between 0 and 1."""

    precision: float
    """Of the entities predicted, the share that is right; 0 where none was predicted."""
    recall: float
    """Of the entities there are, the share that was found; 0 where there are none."""
    f1: float


def entities(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """The entities of one sentence.

    Args:
        tags: One for each word, ``O`` or a prefix and a type such as ``B-PER``. IOB2 (``B``, ``I``) is what tasks use;
            ``E`` (ends an entity) and ``S`` (is one) are understood.

    Returns:
        Type, first word and last word of each; words are counted from 0.

    Raises:
        ValueError: A tag is of no such form.

    Example:
        >>> sorted(entities(["B-PER", "I-PER", "O", "I-LOC"]))
        [('LOC', 3, 3), ('PER', 0, 1)]
    """
    found: set[tuple[str, int, int]] = set()
    before, kind, start = "O", "", 0  # the prefix before, and the entity that is open unless that is O
    for place, tag in enumerate((*tags, "O")):
        prefix, named = _parse(tag, place)
        ended = prefix in "OBS" or before in "ES" or named != kind
        if before != "O" and ended:
            found.add((kind, start, place - 1))
        if before == "O" or ended:
            kind, start = named, place
        before = prefix
    return found


def entity_counts(
    predicted_tags: Sequence[Sequence[str]], gold_tags: Sequence[Sequence[str]]
) -> NDArray[np.int64]:
    """What was found in each sentence, for scores and their intervals.

    Args:
        predicted_tags: Of each sentence, one tag a word.
        gold_tags: The same, from the task.

    Returns:
        (n, 3): entities that are right, that were predicted, and that there are.

    Raises:
        ValueError: Different numbers of sentences or of words, or a malformed tag.
    """
    if len(predicted_tags) != len(gold_tags):
        raise ValueError(f"{len(predicted_tags)} sentences were tagged, and there are {len(gold_tags)}.")
    counts = np.zeros((len(gold_tags), 3), dtype=np.int64)
    for row, (guesses, truth) in enumerate(zip(predicted_tags, gold_tags, strict=True)):
        if len(guesses) != len(truth):
            raise ValueError(
                f"Sentence {row} has {len(truth)} words, and {len(guesses)} tags were predicted."
            )
        named, there = entities(guesses), entities(truth)
        counts[row] = len(named & there), len(named), len(there)
    return counts


def entity_f1(predicted_tags: Sequence[Sequence[str]], gold_tags: Sequence[Sequence[str]]) -> Scores:
    """Precision, recall and F1 over all entities of all sentences (micro-averaged).

    Args:
        predicted_tags: Of each sentence, one tag a word.
        gold_tags: The same, from the task.

    Raises:
        ValueError: Different numbers of sentences or of words, or a malformed tag.

    Example:
        >>> entity_f1([["B-PER", "O", "B-LOC"]], [["B-PER", "O", "O"]])
        Scores(precision=0.5, recall=1.0, f1=0.6666666666666666)
    """
    return scores_of_counts(entity_counts(predicted_tags, gold_tags))


def scores_of_counts(counts: NDArray[np.int64]) -> Scores:
    """Precision, recall and F1 of what ``entity_counts`` counted.

    Args:
        counts: (n, 3).
    """
    right, named, there = (int(count) for count in counts.sum(axis=0))
    return Scores(
        precision=right / named if named else 0.0,
        recall=right / there if there else 0.0,
        f1=2 * right / (named + there) if named + there else 0.0,
    )


def f1_of_counts(counts: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """F1 of sums or means of counts: the statistic that bootstrap intervals of entity F1 are drawn with.

    Args:
        counts: (..., 3) entities that are right, predicted, and there.

    Returns:
        (...), 0 where there are no entities at all.
    """
    named = counts[..., 1] + counts[..., 2]
    found: NDArray[np.float64] = np.divide(
        2 * counts[..., 0], named, out=np.zeros(named.shape), where=named > 0
    )
    return found


def _parse(tag: str, place: int) -> tuple[str, str]:
    """Prefix and type."""
    if tag == "O":
        return "O", ""
    prefix, dash, kind = tag.partition("-")
    if prefix not in _PREFIXES or not dash or not kind:
        raise ValueError(f"Tag {tag!r} of word {place} is neither O nor a prefix and a type, such as B-PER.")
    return prefix, kind
