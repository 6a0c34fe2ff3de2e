"""The plan of a model's new tokens: what each is made of, counted by rule and by language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.embeddings.initialising.drawing import Sampling
from polycompress.embeddings.initialising.material import Initialiser
from polycompress.embeddings.initialising.plans import COPIED, RowsPlan, Rule

RULES: Final = tuple(rule.name.lower() for rule in Rule)
"""Names of the rules, by their numbers."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TokensPlan:
    """What every token of the new tokenizer is made of."""

    rows: RowsPlan
    """Of the new tables, rows behind the last token among them."""
    way: Initialiser
    sampling: Sampling
    """How rows without any source are drawn."""
    tokens: NDArray[np.bool_]
    """(V_t,) ids that have a token."""
    textual: NDArray[np.bool_]
    """(V_t,) tokens that stand for text."""
    keeps_ids: bool
    """Whether all tokens of the source stay at their ids."""
    counts: Mapping[str, int]
    """Rule -> tokens; together all tokens."""
    languages: Mapping[str, Mapping[str, int]]
    """Language -> rule -> tokens that its text (or, without text, its words) holds; a token may count for several."""
    covered: Mapping[str, int] | None
    """Of ``source`` and ``target``, tokens that word vectors say something of; None without word vectors."""
    uses: Mapping[str, NDArray[np.float64]]
    """Language -> how often its words hold each source token."""

    @property
    def size(self) -> int:
        """Rows of the new tables."""
        return len(self.rows)

    @property
    def new(self) -> NDArray[np.bool_]:
        """(V_t,) tokens that are no copy of one of the source's."""
        return self.tokens & ~np.isin(self.rows.rule, COPIED)

    @property
    def fallen(self) -> NDArray[np.bool_]:
        """(V_t,) tokens of which nothing is known, so that their rows are drawn."""
        found: NDArray[np.bool_] = self.textual & (self.rows.rule == Rule.SAMPLED)
        return found

    def fallen_by_language(self, used: Mapping[str, NDArray[np.bool_]]) -> dict[str, tuple[int, int]]:
        """Of each language's new tokens how many fall back, and how many there are.

        Args:
            used: By language code, (V_t,) tokens that it holds.
        """
        return {
            code: (int((self.fallen & mask).sum()), int((self.new & self.textual & mask).sum()))
            for code, mask in used.items()
        }

    def as_dict(self) -> dict[str, Any]:
        """For ``--json`` and the manifest."""
        return {
            "init": self.way.name,
            "sampling": self.sampling,
            "tokens": int(self.tokens.sum()),
            "keeps_ids": self.keeps_ids,
            "rules": dict(self.counts),
            "languages": {code: dict(own) for code, own in self.languages.items()},
            "covered": None if self.covered is None else dict(self.covered),
        }
