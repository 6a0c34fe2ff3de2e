"""Distributions kept as their k likeliest classes and the mass of the rest.

Kept are logarithms of probabilities, which are logits too. What was in the rest is forgotten: the distribution that is
made out of it again spreads the rest's mass uniformly over the other classes. It is the same as before where k is the
number of classes; otherwise its entropy is at least as high.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class TopK:
    """The k likeliest of V classes at each of n places."""

    ids: NDArray[np.int32]
    """(n, k) distinct, the likeliest first."""
    log_probs: NDArray[np.float32]
    """(n, k) at most 0; -inf where a class is ruled out."""
    tail: NDArray[np.float32]
    """(n,) mass of the V - k others, 0 to 1."""


def make_top_k(logits: NDArray[np.floating], k: int) -> TopK:
    """Keep the likeliest classes.

    Args:
        logits: (n, V) -inf is allowed, but not in a whole row.
        k: 1 to V.

    Raises:
        InputError: k is out of range, or a row is no distribution.
    """
    places, classes = logits.shape
    if not 1 <= k <= classes:
        raise InputError(f"k={k} has to be between 1 and the number of classes, {classes}.")
    wide = logits.astype(np.float64)
    highest = wide.max(axis=1, keepdims=True, initial=-np.inf)
    if not np.isfinite(highest).all():
        place = int(np.flatnonzero(~np.isfinite(highest[:, 0]))[0])
        raise InputError(
            f"The logits at place {place} are no distribution: they hold NaN or infinity, or -inf alone."
        )
    with np.errstate(divide="ignore"):
        log_probs = wide - highest
        log_probs -= np.log(np.exp(log_probs).sum(axis=1, keepdims=True))
    # Sorting all of a large vocabulary would take longer than the teacher itself.
    least = np.partition(log_probs, classes - k, axis=1)[:, classes - k, None]
    chosen, ties = log_probs > least, log_probs == least
    chosen |= ties & (np.cumsum(ties, axis=1) <= k - chosen.sum(axis=1, keepdims=True))
    ids = np.nonzero(chosen)[1].reshape(places, k)
    order = np.argsort(-np.take_along_axis(log_probs, ids, axis=1), axis=1, kind="stable")
    kept = np.take_along_axis(ids, order, axis=1)
    # Summed, since 1 minus the rest would leave little of a small tail.
    tail = np.where(chosen, 0.0, np.exp(log_probs)).sum(axis=1)
    return TopK(
        kept.astype(np.int32),
        np.take_along_axis(log_probs, kept, axis=1).astype(np.float32).reshape(places, k),
        np.minimum(tail, 1.0).astype(np.float32),
    )


def from_top_k(kept: TopK, classes: int) -> NDArray[np.float32]:
    """Distributions again, the tail's mass spread uniformly over the classes that were not kept.

    Args:
        kept: n places of k classes.
        classes: V

    Returns:
        (n, V) logarithms of probabilities; -inf where there is no mass.
    """
    places, k = kept.ids.shape
    with np.errstate(divide="ignore"):
        rest = np.log(kept.tail) - np.float32(np.log(max(1, classes - k)))
    log_probs = np.repeat(rest[:, None], classes, axis=1).astype(np.float32)
    log_probs[np.arange(places)[:, None], kept.ids] = kept.log_probs
    return log_probs
