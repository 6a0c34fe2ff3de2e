"""What the ways to initialise new rows work on, and the record that describes one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.initialising.drawing import Sampling
from polycompress.embeddings.initialising.plans import RowsPlan

NEIGHBOURS: Final = 10
"""Source tokens that an average takes; the paper's k."""
TEMPERATURE: Final = 0.1
"""Of the softmax over their cosines; the paper's tau."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Space:
    """Vectors of tokens in a space in which similarity means something."""

    vectors: NDArray[np.float32]
    """(V, d)"""
    covered: NDArray[np.bool_]
    """(V,) tokens that have a vector."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Material:
    """All that is known of source and target tokens; each way needs some of it."""

    matched: RowsPlan
    """Target tokens that the source has, the others drawn (see `match_tokens`)."""
    textual: NDArray[np.bool_]
    """(V_s,) source tokens that stand for text: no special token is a neighbour."""
    source: Space | None = None
    """Source tokens in the space of word vectors."""
    target: Space | None = None
    """Target tokens in the same space."""
    auxiliary: Space | None = None
    """Target tokens in a space of their own: static vectors trained on text in target tokens."""
    source_pieces: Sequence[Sequence[int]] | None = None
    """For each target token, the source ids into which the source's tokenizer cuts what it says."""
    neighbours: int = NEIGHBOURS
    """Source tokens that an average takes, at most."""
    temperature: float = TEMPERATURE
    """Of the softmax over their cosines, where a way has one."""
    progress: Callable[[int], None] | None = None
    """Told how many more tokens are done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Initialiser:
    """One way to make rows for new tokens."""

    name: str
    """What it is called on the command line."""
    summary: str
    """What it does, in a line."""
    paper: str
    """Where it is described; "" for what everybody does."""
    needs: tuple[str, ...]
    """Fields of `Material` that must not be None."""
    plan: Callable[[Material], RowsPlan]
    """Makes the plan."""
    sampling: Sampling = "diagonal"
    """How the rows are drawn for which nothing is known."""
