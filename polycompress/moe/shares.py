"""Which share of the training each language gets: families by temperature, and what lags behind its teacher gets more.

Reference:
    Liu et al., "DDK: Distilling Domain Knowledge for Efficient Large Language Models" (2024), section 3,
    https://arxiv.org/abs/2407.16154, with languages as domains.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ALPHA: Final = 0.5
"""DDK's."""
MAX_RATIO: Final = 4.0
"""A language whose perplexity is further than so many times its teacher's counts as if it were that: before anything is
learnt ratios are of any size, and exp(4) is twenty times exp(1) already. The paper has no such limit."""


def family_shares(sizes: Floats, families: Sequence[str], temperature: float) -> Floats:
    """Shares of languages: families in proportion to ``size ** (1 / temperature)``, and so languages within each.

    A family of many languages gets no more than another of the same size, and within a family the largest language,
    which its expert would belong to otherwise, is held back alike.

    Args:
        sizes: (L,) in tokens, all above 0.
        families: (L,) of each language; a family's size is the sum of its languages'.
        temperature: Above 0: 1 is proportional to sizes, infinity gives all families alike, and all of one's languages.

    Returns:
        (L,) adding up to 1.
    """
    names = sorted(set(families))
    number = np.array([names.index(family) for family in families])
    totals = np.array([sizes[number == each].sum() for each in range(len(names))])
    between = _softened(totals, temperature)
    shares = np.empty(len(sizes))
    for family, share in enumerate(between):
        own = number == family
        shares[own] = share * _softened(sizes[own], temperature)
    return np.asarray(shares / shares.sum())


def perplexity_ratios(student: Floats, teacher: Floats) -> Floats:
    """How many times a student's perplexity is its teacher's, each per byte: ``2 ** (student - teacher)``.

    Bytes instead of the paper's tokens: how many tokens a text has depends on how well a tokenizer knows its language.

    Args:
        student: (L,) bits a byte of held-out text.
        teacher: (L,)

    Returns:
        (L,) above 0; 1 where both are equal.
    """
    return np.asarray(np.exp2(np.minimum(student - teacher, 1000.0)))


def reweighted(
    shares: Floats, ratios: Floats, *, alpha: float = ALPHA, max_ratio: float = MAX_RATIO
) -> Floats:
    """The shares of the next stretch of training (DDK's equation of the domain discrepancy factor).

        psi_i = r_i exp(min(ratio_i, max_ratio))        r_i <- alpha psi_i / sum_j psi_j + (1 - alpha) / L

    Args:
        shares: (L,) r of the stretch that ends, adding up to 1.
        ratios: (L,) how far each language lags behind, at least 0: see ``perplexity_ratios``; or, of models that give
            no probabilities, the loss of distillation as a share of what it was before the first step.
        alpha: 0 gives all languages alike, 1 would let one vanish; in between every language keeps
            ``(1 - alpha) / L``, and what was asked for at the start is forgotten by and by.
        max_ratio: Larger ratios count as this.

    Returns:
        (L,) adding up to 1, none below ``(1 - alpha) / L``.

    Raises:
        ValueError: A ratio is negative or no number, or alpha is not from 0 to 1.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}, not from 0 to 1")
    if not bool((ratios >= 0).all()):
        raise ValueError(f"ratios have to be 0 or more, got {ratios.tolist()}")
    clamped = np.minimum(ratios, max_ratio)
    psi = shares * np.exp(clamped - clamped.max())
    return np.asarray(alpha * psi / psi.sum() + (1 - alpha) / len(shares))


def _softened(sizes: Floats, temperature: float) -> Floats:
    """In proportion to ``size ** (1 / temperature)``, adding up to 1."""
    weights = np.exp(np.log(sizes / sizes.max()) / temperature)
    return np.asarray(weights / weights.sum())
