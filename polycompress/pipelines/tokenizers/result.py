"""What came of work on a tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycompress.pipelines.tokenizers.figures import LanguageChange, LanguageCost


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenizerResult:
    """A tokenizer that was made, or two that were compared."""

    out: Path | None
    """Where it lies; None where nothing was written."""
    kind: str
    size: int
    """Tokens."""
    old_size: int | None
    """Tokens of the one before it, where there was one."""
    shared: int | None
    """Tokens that both have."""
    costs: tuple[LanguageCost, ...]
    changes: tuple[LanguageChange, ...]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "out": None if self.out is None else str(self.out),
            "type": self.kind,
            "size": self.size,
            "old_size": self.old_size,
            "shared": self.shared,
            "languages": [each.as_dict() for each in self.costs],
            "changes": [each.as_dict() for each in self.changes],
            "notes": list(self.notes),
        }
