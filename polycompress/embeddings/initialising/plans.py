"""What each row of a new table is made of."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Rule(IntEnum):
    """Which rule makes a token's row."""

    KEPT = 0
    """The caller's: the token is the source's own, at an id that the caller gives."""
    ROLE = 1
    """A special token: the source's token of the same role or name."""
    EXACT = 2
    """The source has a token of the same form."""
    FOLDED = 3
    """The source has one that differs in upper and lower case only."""
    UNSPACED = 4
    """The source has one that differs in whether it begins a word only (on request)."""
    AVERAGED = 5
    """A weighted average of the source tokens that are most similar."""
    PIECES = 6
    """The mean of the pieces that the source's tokenizer cuts the token into."""
    SAMPLED = 7
    """Drawn at random: nothing is known of the token."""


COPIED = (Rule.KEPT, Rule.ROLE, Rule.EXACT, Rule.FOLDED, Rule.UNSPACED)
"""Rules that copy one source row."""

_SUM = 1e-4
"""How far the float32 weights of a row may sum from 1."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RowsPlan:
    """Of which source rows each row of a new table is made, before anything is made."""

    rule: NDArray[np.uint8]
    """(V_t,) a `Rule` for each target token."""
    sources: NDArray[np.int32]
    """(V_t, k) source rows, from the left; -1 where a token has fewer."""
    weights: NDArray[np.float32]
    """(V_t, k) not below 0, summing to 1 where a token has sources; 0 where it has none."""
    population: NDArray[np.bool_]
    """(V_s,) source rows of real tokens, which drawn rows take after."""

    def __post_init__(self) -> None:
        """Check that it is a plan.

        Raises:
            ValueError: Shapes that do not fit, rows that the source lacks, or weights that are no average.
        """
        if (
            not len(self.rule) == len(self.sources) == len(self.weights)
            or self.sources.shape != self.weights.shape
        ):
            raise ValueError(
                f"shapes {self.rule.shape}, {self.sources.shape} and {self.weights.shape} differ"
            )
        used = self.sources >= 0
        if self.sources.size and int(self.sources.max(initial=-1)) >= len(self.population):
            raise ValueError(f"row {int(self.sources.max())} of a source with {len(self.population)} rows")
        if not ((self.weights >= 0).all() and (self.weights[~used] == 0).all()):
            raise ValueError("weights must not be below 0, and 0 where there is no source row")
        drawn = self.rule == Rule.SAMPLED
        if (used.any(axis=1) == drawn).any():
            raise ValueError("every row but a drawn one needs sources, and a drawn one has none")
        if (np.abs(self.weights.sum(axis=1, dtype=np.float64) - 1)[~drawn] > _SUM).any():
            raise ValueError("the weights of a row must sum to 1")
        copies = np.isin(self.rule, COPIED)
        if ((used.sum(axis=1) != 1) | (self.weights.max(axis=1, initial=0) != 1))[copies].any():
            raise ValueError("a copied row has one source with weight 1")

    def __len__(self) -> int:
        return len(self.rule)

    def counts(self) -> dict[str, int]:
        """How many tokens each rule makes: name -> tokens, all rules; together the whole vocabulary."""
        numbers = np.bincount(self.rule, minlength=len(Rule))
        return {rule.name.lower(): int(numbers[rule]) for rule in Rule}


def copies(rule: NDArray[np.uint8], source: NDArray[np.int32], population: NDArray[np.bool_]) -> RowsPlan:
    """The plan that copies some rows and draws the others.

    Args:
        rule: (V_t,) a `Rule` that copies, or `Rule.SAMPLED`.
        source: (V_t,) the source row, -1 for drawn ones.
        population: (V_s,) see `RowsPlan`.
    """
    weights = (source >= 0).astype(np.float32)[:, None]
    return RowsPlan(rule=rule, sources=source[:, None], weights=weights, population=population)


def with_averages(
    plan: RowsPlan,
    tokens: NDArray[np.integer],
    sources: NDArray[np.integer],
    weights: NDArray[np.floating],
    rule: Rule = Rule.AVERAGED,
) -> RowsPlan:
    """A plan in which some tokens become averages.

    Args:
        plan: The plan so far.
        tokens: (n,) target tokens.
        sources: (n, k) source rows, from the left, -1 for none. A token without any stays as it is.
        weights: (n, k) not below 0; scaled to sum 1 here.
        rule: What made them.
    """
    some = sources[:, 0] >= 0 if sources.shape[1] else np.zeros(len(tokens), dtype=np.bool_)
    tokens, sources, weights = tokens[some], sources[some], weights[some].astype(np.float64)
    width = max(plan.sources.shape[1], sources.shape[1])
    wider = ((0, 0), (0, width - plan.sources.shape[1]))
    new_rule = plan.rule.copy()
    new_sources = np.pad(plan.sources, wider, constant_values=-1)
    new_weights = np.pad(plan.weights, wider)
    new_rule[tokens] = rule
    new_sources[tokens], new_weights[tokens] = -1, 0
    new_sources[tokens, : sources.shape[1]] = sources
    new_weights[tokens, : sources.shape[1]] = weights / weights.sum(axis=1, keepdims=True)
    return RowsPlan(rule=new_rule, sources=new_sources, weights=new_weights, population=plan.population)
