"""FOCUS: new tokens as sparse combinations of those that both tokenizers have."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.initialising.material import Material
from polycompress.embeddings.initialising.neighbours import Vectors, nearest, unit_rows
from polycompress.embeddings.initialising.plans import RowsPlan, Rule, with_averages
from polycompress.embeddings.initialising.weighting import sparsemax

FIRST_WIDTH: Final = 64
"""Neighbours looked at first; more where sparsemax gives weight to all of them."""
MOST: Final = 256
"""Neighbours looked at in the end. A sparsemax that would spread further is cut there."""

_ANCHORS: Final = (Rule.KEPT, Rule.EXACT, Rule.FOLDED, Rule.UNSPACED)


def focus(material: Material) -> RowsPlan:
    """Copy the tokens that the source has; combine them for the others by similarity in a space of the target's tokens.

    The weights are sparsemax over cosines with all overlapping tokens. It gives weight to the most similar ones only,
    so it is computed over the nearest 64, or as many times more as get weight, up to 256: exact unless a row needs
    more than that, or gives weight to cosines below 0.

    Args:
        material: With `auxiliary`.

    Reference:
        Dobler and de Melo, "FOCUS: Effective Embedding Initialization for Monolingual Specialization of Multilingual
        Models" (EMNLP 2023), section 3.
    """
    space, plan = material.auxiliary, material.matched
    if space is None:
        raise ValueError("FOCUS needs vectors of target tokens")
    anchors = np.flatnonzero(np.isin(plan.rule, _ANCHORS) & space.covered)
    anchors = anchors[material.textual[plan.sources[anchors, 0]]]
    tokens = np.flatnonzero((plan.rule == Rule.SAMPLED) & space.covered)
    if not len(anchors) or not len(tokens):
        return plan
    ids, weights = _combinations(unit_rows(space.vectors, tokens), unit_rows(space.vectors, anchors))
    sources = np.where(ids >= 0, plan.sources[anchors[ids], 0], -1)
    if material.progress is not None:
        material.progress(len(tokens))
    return with_averages(plan, tokens, sources, weights)


def _combinations(targets: Vectors, anchors: Vectors) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Anchors (-1 for none) and weights of each target, as wide as the longest combination."""
    width = min(FIRST_WIDTH, len(anchors))
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
    waiting = np.arange(len(targets))
    while len(waiting):
        found = nearest(targets[waiting], anchors, width)
        weights = sparsemax(found.cosines, found.ids >= 0)
        last = width >= min(MOST, len(anchors))
        done = np.ones(len(waiting), dtype=np.bool_) if last else weights[:, -1] == 0
        longest = int((weights[done] > 0).sum(axis=1).max(initial=0))
        parts.append((waiting[done], found.ids[done, :longest].astype(np.int64), weights[done, :longest]))
        waiting, width = waiting[~done], min(4 * width, MOST, len(anchors))
    longest = max(weights.shape[1] for _, _, weights in parts)
    ids = np.full((len(targets), longest), -1, dtype=np.int64)
    weights = np.zeros((len(targets), longest))
    for rows, own, shares in parts:
        ids[rows, : own.shape[1]] = np.where(shares > 0, own, -1)
        weights[rows, : own.shape[1]] = shares
    return ids, weights
