"""Scores of single labels: accuracy and macro-averaged F1."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def accuracy(predicted: ArrayLike, gold: ArrayLike) -> float:
    """Share of labels that are right.

    Args:
        predicted: (n,) whole numbers.
        gold: (n,) whole numbers.

    Returns:
        Between 0 and 1.

    Raises:
        ValueError: Nothing to score, or different lengths.

    Example:
        >>> accuracy([0, 1, 2, 2], [0, 1, 1, 2])
        0.75
    """
    guesses, truth = _labels(predicted, gold)
    return float(np.mean(guesses == truth))


def macro_f1(predicted: ArrayLike, gold: ArrayLike) -> float:
    """F1 of each class, averaged over the classes that occur in either list.

    A class that is never predicted or never right counts as 0, as in scikit-learn with ``zero_division=0``.

    Args:
        predicted: (n,) whole numbers.
        gold: (n,) whole numbers.

    Returns:
        Between 0 and 1.

    Raises:
        ValueError: Nothing to score, or different lengths.

    Example:
        >>> macro_f1([0, 1, 1, 1], [0, 0, 1, 1])  # 2/3 for class 0, 4/5 for class 1
        0.7333333333333334
    """
    guesses, truth = _labels(predicted, gold)
    _, places = np.unique(np.concatenate([guesses, truth]), return_inverse=True)
    guesses, truth = places[: len(guesses)], places[len(guesses) :]
    classes = int(places.max()) + 1
    right = np.bincount(truth[guesses == truth], minlength=classes)
    named = np.bincount(guesses, minlength=classes) + np.bincount(truth, minlength=classes)
    return float(np.mean(2 * right / named))


def _labels(predicted: ArrayLike, gold: ArrayLike) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    guesses, truth = np.asarray(predicted), np.asarray(gold)
    if guesses.shape != truth.shape or guesses.ndim != 1:
        raise ValueError(
            f"Labels come as two lists of the same length, not with shapes {guesses.shape} and {truth.shape}."
        )
    if not truth.size:
        raise ValueError("There are no labels to score.")
    for name, labels in (("predicted", guesses), ("gold", truth)):
        if labels.dtype.kind not in "iub":
            raise ValueError(f"Labels are whole numbers; the {name} ones are {labels.dtype}.")
    return guesses, truth
