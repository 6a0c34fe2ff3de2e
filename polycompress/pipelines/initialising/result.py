"""What came of giving a model new tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from polycompress.pipelines.initialising.tables import Factorised
from polycompress.pipelines.initialising.target import Target
from polycompress.pipelines.initialising.tokens_plan import TokensPlan
from polycompress.vocab.document import pieces


@dataclass(frozen=True, kw_only=True, slots=True)
class OfaResult:
    """A model with new tokens, or a dry run's plan."""

    out: Path | None
    """The directory written; None after a dry run."""
    source: str
    plan: TokensPlan
    target: Target
    factorised: Factorised | None
    """The factors of the source's table, where the result's is factorised."""
    sizes: Mapping[str, Mapping[str, int]]
    """``before`` and ``after``: tokens, parameters, those of them in the table, bytes."""
    notes: tuple[str, ...]
    manifest: Mapping[str, Any] | None
    """Of what was written; None after a dry run."""

    def fallen_examples(self, most: int = 8) -> list[str]:
        """The first tokens of which nothing is known, as their vocabulary writes them."""
        names = pieces(self.target.document)
        return [str(names[number]) for number in np.flatnonzero(self.plan.fallen)[:most].tolist()]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "out": None if self.out is None else str(self.out),
            "source": self.source,
            "tokenizer": self.target.name,
            **self.plan.as_dict(),
            "fallen_examples": self.fallen_examples(),
            "factorisation": None if self.factorised is None else self.factorised.as_dict(),
            "sizes": {when: dict(size) for when, size in self.sizes.items()},
            "costs": [each.as_dict() for each in self.target.costs],
            "changes": [each.as_dict() for each in self.target.changes],
            "notes": list(self.notes),
        }
