"""Averages over similar source tokens: OFA's step, and WECHSEL's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.initialising.material import Material, Space
from polycompress.embeddings.initialising.neighbours import nearest, unit_rows
from polycompress.embeddings.initialising.plans import RowsPlan, Rule, with_averages
from polycompress.embeddings.initialising.weighting import softmax


def ofa(material: Material) -> RowsPlan:
    """Copy tokens that the source has; average the most similar source tokens for those with a vector; draw the rest.

    Neighbours are source tokens that stand for text and have a vector, with a positive cosine; a token with fewer than
    ``neighbours`` of them averages fewer, one with none is drawn.

    Args:
        material: With `source` and `target`.

    Reference:
        Liu et al., "OFA" (Findings of NAACL 2024), section 3. In the authors' code source tokens without a vector are
        neighbours too, at cosine 0.
    """
    return _averaged(material, np.flatnonzero(material.matched.rule == Rule.SAMPLED))


def wechsel(material: Material) -> RowsPlan:
    """Average the most similar source tokens for every token with a vector, those that the source has among them.

    Kept and special tokens are copied, and so is a token that the source has but that has no vector or no neighbour
    (the paper, whose vectors come from character n-grams and cover nearly all, draws these).

    Args:
        material: With `source` and `target`.

    Reference:
        Minixhofer, Paischer and Rekabsaz, "WECHSEL: Effective initialization of subword embeddings for cross-lingual
        transfer of monolingual language models" (NAACL 2022), section 3.
    """
    fixed = np.isin(material.matched.rule, [Rule.KEPT, Rule.ROLE])
    return _averaged(material, np.flatnonzero(~fixed))


def _averaged(material: Material, tokens: NDArray[np.int64]) -> RowsPlan:
    source, target = _same_space(material.source, material.target)
    eligible = np.flatnonzero(source.covered & material.textual)
    tokens = tokens[target.covered[tokens]]
    if not len(eligible) or not len(tokens):
        return material.matched
    found = nearest(
        unit_rows(target.vectors, tokens),
        unit_rows(source.vectors, eligible),
        material.neighbours,
        progress=material.progress,
    )
    there = found.ids >= 0
    sources = np.where(there, eligible[found.ids], -1)
    weights = softmax(found.cosines, there, material.temperature)
    return with_averages(material.matched, tokens, sources, weights)


def _same_space(source: Space | None, target: Space | None) -> tuple[Space, Space]:
    if source is None or target is None:
        raise ValueError("averages need vectors of source and target tokens")
    if source.vectors.shape[1] != target.vectors.shape[1]:
        raise ValueError(
            f"source vectors have {source.vectors.shape[1]} values, target vectors {target.vectors.shape[1]}"
        )
    return source, target
