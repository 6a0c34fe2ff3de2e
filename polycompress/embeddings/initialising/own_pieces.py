"""New tokens as the mean of the pieces that the source's tokenizer cuts them into."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.initialising.material import Material
from polycompress.embeddings.initialising.plans import RowsPlan, Rule, with_averages


def own_pieces(material: Material) -> RowsPlan:
    """Copy the tokens that the source has; give each other one the mean of its source pieces; draw what has none.

    A piece that occurs twice counts twice; pieces that stand for no text (unknown tokens) do not count.

    Args:
        material: With `source_pieces`.

    Reference:
        Gee et al., "Fast Vocabulary Transfer for Language Model Compression" (EMNLP 2022, industry track), section 2.
    """
    cut, plan = material.source_pieces, material.matched
    if cut is None:
        raise ValueError("the mean of pieces needs the source's pieces of each target token")
    if len(cut) != len(plan):
        raise ValueError(f"pieces of {len(cut)} tokens for a vocabulary of {len(plan)}")
    tokens = np.flatnonzero(plan.rule == Rule.SAMPLED)
    counts = [_counted(cut[token], material.textual) for token in tokens.tolist()]
    width = max((len(own) for own in counts), default=0)
    sources = np.full((len(tokens), width), -1, dtype=np.int64)
    weights = np.zeros((len(tokens), width))
    for row, own in enumerate(counts):
        sources[row, : len(own)] = list(own)
        weights[row, : len(own)] = list(own.values())
    return with_averages(plan, tokens, sources, weights, Rule.PIECES)


def _counted(pieces: Sequence[int], textual: NDArray[np.bool_]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for piece in pieces:
        if 0 <= piece < len(textual) and textual[piece]:
            counts[piece] = counts.get(piece, 0) + 1
    return dict(sorted(counts.items()))
