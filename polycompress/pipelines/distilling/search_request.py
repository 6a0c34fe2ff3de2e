"""What a search for students can be told, and what it answers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from polycompress.distill.diswot import Score
from polycompress.distill.shapes import Shape
from polycompress.errors import InputError
from polycompress.languages import Language
from polycompress.vocab.planning import parse_budget

Unit = Literal["parameters", "bytes", "ms"]

_LATENCY = re.compile(r"(\d{1,9}(?:\.\d{1,6})?) ?ms", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchSettings:
    """What a search can be told besides the model, its languages and their text."""

    layers: tuple[int, ...] = ()
    """Numbers of layers; by default those that divide the teacher's."""
    hidden: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()
    feed_forward: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    """Sizes of the vocabulary; by default what trimming keeps, and half of it."""
    seeds: int = 3
    """Students of each shape, with random weights of their own."""
    seed: int = 0
    """The first of them, and that of the text's order."""
    batches: int = 2
    texts: int = 32
    """Texts of a batch."""
    length: int = 64
    """Tokens of a text at most."""

    def __post_init__(self) -> None:
        """Report every value that will not do.

        Raises:
            InputError: There is one.
        """
        ranges = {"seeds": (1, 1000), "batches": (1, 1000), "texts": (2, 4096), "length": (4, 4096)}
        faults = [
            f"{name} is {getattr(self, name)}; from {low} to {high} will do"
            for name, (low, high) in ranges.items()
            if not low <= getattr(self, name) <= high
        ]
        faults += [
            f"{name} holds {min(getattr(self, name))}; give sizes above 0"
            for name in ("layers", "hidden", "heads", "feed_forward", "tokens")
            if getattr(self, name) and min(getattr(self, name)) < 1
        ]
        if faults:
            raise InputError(f"Nothing was searched: {'; '.join(faults)}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class RankedStudent:
    """One shape, what it takes, and how like the teacher it looks untrained."""

    rank: int
    shape: Shape
    parameters: int
    """Without heads."""
    bytes: int
    """Of the weights, in the teacher's type."""
    latency_ms: float | None
    """None where the budget is none of time."""
    score: Score
    error: float
    """Standard error of the score over seeds and batches; students closer than that are not told apart. Infinite, and
    None for ``--json``, where there is one score alone."""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "rank": self.rank,
            **self.shape.as_dict(),
            "parameters": self.parameters,
            "bytes": self.bytes,
            "latency_ms": self.latency_ms,
            "semantic": self.score.semantic,
            "relation": self.score.relation,
            "score": self.score.total,
            "error": self.error if math.isfinite(self.error) else None,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class StudentsResult:
    """Students, the best first."""

    source: str
    budget: str
    languages: tuple[Language, ...]
    students: tuple[RankedStudent, ...]
    considered: int
    """Shapes, before the budget."""
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "source": self.source,
            "budget": self.budget,
            "languages": [language.code for language in self.languages],
            "considered": self.considered,
            "students": [each.as_dict() for each in self.students],
            "notes": list(self.notes),
        }


def parse_limit(budget: str) -> tuple[float, Unit, str]:
    """Read ``20M`` (parameters), ``60MB`` (bytes) or ``15ms`` (of one text).

    Returns:
        The value, its unit, and how it is shown.

    Raises:
        InputError: It is none of them.
    """
    match = _LATENCY.fullmatch(budget.strip())
    if match is not None and float(match[1]) > 0:
        return float(match[1]), "ms", f"{float(match[1]):g}ms"
    try:
        parsed = parse_budget(budget)
    except InputError as error:
        raise InputError(f"{error}, and the time of one text as 15ms") from error
    return parsed.value, parsed.unit, str(parsed)
