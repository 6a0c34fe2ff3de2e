"""What a new tokenizer does to languages, beside an old one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycompress.languages import Language
from polycompress.pipelines.tokenizers.opening import OpenTokenizer
from polycompress.pipelines.tokenizers.text import Check
from polycompress.pipelines.trimming.certificate import unknown_id
from polycompress.vocab.document import is_byte_level
from polycompress.vocab.extending.measuring import Change, Cost, change_of, cost_of


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageCost:
    """What a language's held-out text takes."""

    language: Language
    before: Cost | None
    """None where there was no tokenizer before."""
    after: Cost

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "language": self.language.code,
            "before": None if self.before is None else self.before.as_dict(),
            "after": self.after.as_dict(),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class LanguageChange:
    """How much of a language's text is cut otherwise."""

    language: Language
    source: str
    change: Change

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"language": self.language.code, "source": self.source, **self.change.as_dict()}


def language_costs(
    texts: Sequence[tuple[Language, Sequence[str]]], before: OpenTokenizer | None, after: OpenTokenizer
) -> list[LanguageCost]:
    """Measure each language's texts under one or two tokenizers."""
    return [
        LanguageCost(
            language=language,
            before=None if before is None else _cost(before, lines),
            after=_cost(after, lines),
        )
        for language, lines in texts
    ]


def language_changes(
    checks: Sequence[Check],
    before: OpenTokenizer,
    after: OpenTokenizer,
    old_ids: NDArray[np.int64] | None = None,
) -> list[LanguageChange]:
    """Compare how two tokenizers cut each language's texts; for ``old_ids`` see ``change_of``."""
    lead = " " if is_byte_level(before.document) or is_byte_level(after.document) else ""
    return [
        LanguageChange(
            language=check.language,
            source=check.source,
            change=change_of(before.tokenizer, after.tokenizer, check.texts, old_ids=old_ids, lead=lead),
        )
        for check in checks
    ]


def _cost(opened: OpenTokenizer, lines: Sequence[str]) -> Cost:
    return cost_of(opened.tokenizer, lines, unknown_id(opened.document))
