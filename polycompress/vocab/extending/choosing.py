"""Which of many candidate pieces to add: those that save the most tokens in text they were not found in.

A piece saves, each time it is used, the tokens that its letters would cost without it, less one. Uses are counted where
pieces compete: the tokenizer is extended by all candidates, held-out words are cut, the candidates that save least are
dropped, and so on in a few rounds, since what one piece covers changes when another goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from polycompress.vocab.extending.pieces import NewPiece

KEPT_PER_ROUND: Final = 0.7
"""Share of the candidates that a round leaves; the last leaves what was asked for."""
UNKNOWN_COST: Final = 10
"""Tokens that an unknown character counts for: what it stood for is lost."""

Count = Callable[[Sequence[NewPiece]], tuple[NDArray[np.int64], NDArray[np.int64]]]
"""From pieces to (n,) how often each is used in held-out words and in those of training, all of them added."""
Cost = Callable[[Sequence[NewPiece]], NDArray[np.int64]]
"""From pieces to (n,) the tokens that each would cost if it alone were missing."""


def choose(candidates: Sequence[NewPiece], most: int, *, count: Count, cost: Cost) -> list[NewPiece]:
    """Choose the pieces that save the most.

    Args:
        candidates: In an order in which every part of a merge stands before what it makes.
        most: To be chosen.
        count: Counts uses.
        cost: Says what each piece stands for.

    Returns:
        At most so many of the candidates, in their order; none that saves nothing, unless it is part of another.
    """
    kept = list(candidates)
    while True:
        held_out, training = count(kept)
        each = np.maximum(cost(kept) - 1, 0)
        value = worth(held_out * each, training * each)
        value = with_wholes(kept, value)
        size = max(most, int(KEPT_PER_ROUND * len(kept)))
        order = np.lexsort((np.arange(len(kept)), -value))[:size]
        chosen = np.sort(order[value[order] > 0])
        done = len(kept) <= most or size == most
        kept = [kept[number] for number in chosen.tolist()]
        if done:
            return kept


def worth(held_out: NDArray[np.int64], training: NDArray[np.int64]) -> NDArray[np.float64]:
    """What pieces are worth: tokens saved in both texts, and next to nothing where only in that of training.

    Held-out text alone is a fair judge but a small one: it tells few of the rare pieces apart.

    Args:
        held_out: (n,) tokens saved there.
        training: (n,) tokens saved in the text that the pieces were found in.

    Returns:
        (n,) values; any piece that saves something in held-out text is worth more than all that do not.
    """
    both = (held_out + training).astype(np.float64)
    return np.where(held_out > 0, 1.0 + both, training / (1.0 + training.max(initial=0)))


def with_wholes(kept: Sequence[NewPiece], value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values with which no piece goes before what is made of it.

    Args:
        kept: Parts before wholes.
        value: (n,) of each piece.

    Returns:
        (n,) of each piece the largest value among itself and all that its first merge makes, directly or not.
    """
    place: Mapping[str, int] = {piece.text: number for number, piece in enumerate(kept)}
    result = value.copy()
    for number in range(len(kept) - 1, -1, -1):
        for part in kept[number].merges[0] if kept[number].merges else ():
            if part in place:
                result[place[part]] = max(result[place[part]], result[number])
    return result
