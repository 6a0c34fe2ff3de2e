"""Averages over languages, which show what is missing, and over seeds, which show what collapsed.

Every language counts once: where a task has several test sets in one language, their mean is that language's score.
Resource levels are told from what the registry knows of each language:

- ``high``: XLM-R and multilingual BERT were both trained on it, and wordfreq has a word list;
- ``middle``: at least one of the two models was trained on it;
- ``low``: neither was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from polycompress.errors import InputError
from polycompress.evaluation.records import Part
from polycompress.languages import Language, all_languages

ResourceLevel = Literal["high", "middle", "low"]
COLLAPSE_MARGIN: Final = 0.02
"""A seed counts as collapsed at chance plus this, or below: two points of a hundred."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupMean:
    """The average of a group of languages."""

    mean: float | None
    """None where no language of the group has a score."""
    languages: int
    """How many the mean is over."""
    missing: tuple[Part, ...]
    """What was wanted and has no score; the mean says nothing about it."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        missing = [str(part) for part in self.missing]
        return {"mean": self.mean, "languages": self.languages, "missing": missing}


@dataclass(frozen=True, kw_only=True, slots=True)
class Averages:
    """A task's scores over all languages and over groups of them."""

    all: GroupMean
    zero_shot: GroupMean
    """Without the languages that were trained on."""
    family: Mapping[str, GroupMean]
    """By Glottolog's top node."""
    script: Mapping[str, GroupMean]
    """By ISO 15924 code."""
    resource: Mapping[str, GroupMean]
    """By level: high, middle, low."""
    missing: tuple[Part, ...]
    """What was wanted and has no score."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "all": self.all.as_dict(),
            "zero-shot": self.zero_shot.as_dict(),
            "family": {name: group.as_dict() for name, group in self.family.items()},
            "script": {name: group.as_dict() for name, group in self.script.items()},
            "resource": {name: group.as_dict() for name, group in self.resource.items()},
            "missing": [str(part) for part in self.missing],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedSummary:
    """One score over several seeds."""

    mean: float
    spread: float | None
    """Standard deviation of the sample (n - 1); None for a single seed."""
    minimum: float
    maximum: float
    seeds: int
    collapsed: float | None
    """Share of seeds at or below chance plus ``COLLAPSE_MARGIN``; None where chance is not known."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "mean": self.mean,
            "spread": self.spread,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "seeds": self.seeds,
            "collapsed": self.collapsed,
        }


def average_scores(
    scores: Mapping[Part, float | None],
    registry: Sequence[Language] | None = None,
    *,
    expected: Iterable[Part] = (),
    trained: Collection[str] = (),
) -> Averages:
    """Averages of a task's scores by family, script and resource level.

    Args:
        scores: Of each part; None where there is none.
        registry: Where families, scripts and coverage come from. None: the whole registry.
        expected: Parts that were wanted; those without a score are shown as missing, here and in their groups.
        trained: Codes of the languages that the model was trained on for this task.

    Raises:
        InputError: A language is not in the registry.
        ValueError: A score is not finite.
    """
    rows = {language.code: language for language in (all_languages() if registry is None else registry)}
    wanted = {part: scores.get(part) for part in sorted({*scores, *expected}, key=_order)}
    _check(wanted, rows)
    return Averages(
        all=_mean(wanted),
        zero_shot=_mean({part: score for part, score in wanted.items() if part.language not in trained}),
        family=_grouped(wanted, rows, lambda language: language.family),
        script=_grouped(wanted, rows, lambda language: language.script),
        resource=_grouped(wanted, rows, resource_level),
        missing=tuple(part for part, score in wanted.items() if score is None),
    )


def resource_level(language: Language) -> ResourceLevel:
    """How much text others have found in a language; see above."""
    models = language.covered & {"xlmr", "mbert"}
    if len(models) == 2 and "wordfreq" in language.covered:
        return "high"
    return "middle" if models else "low"


def over_seeds(values: Sequence[float], *, chance: float | None = None) -> SeedSummary:
    """Mean and spread of one score over seeds, and how many of them learnt nothing.

    Fine-tuning sometimes ends at chance. A mean over such seeds describes none of them, so their share is told.

    Args:
        values: One for each seed, between 0 and 1.
        chance: What guessing scores; 0 for F1 of entities.

    Raises:
        ValueError: There are no values, or one is not finite.

    Example:
        >>> over_seeds([0.71, 0.69, 0.34], chance=1 / 3).collapsed
        0.3333333333333333
    """
    if not values or not all(math.isfinite(value) for value in values):
        raise ValueError(f"A summary over seeds needs finite scores, not {list(values)}.")
    low = None if chance is None else sum(value <= chance + COLLAPSE_MARGIN for value in values)
    return SeedSummary(
        mean=float(np.mean(values)),
        spread=float(np.std(values, ddof=1)) if len(values) > 1 else None,
        minimum=float(min(values)),
        maximum=float(max(values)),
        seeds=len(values),
        collapsed=None if low is None else low / len(values),
    )


def _check(wanted: Mapping[Part, float | None], rows: Mapping[str, Language]) -> None:
    for part, score in wanted.items():
        if part.language not in rows:
            raise InputError(
                f"Cannot average: {part.language!r} is no code of the language registry. "
                f"'polycompress languages' lists them."
            )
        if score is not None and not math.isfinite(score):
            raise ValueError(f"The score of {part} is {score}; give None where there is no score.")


def _grouped(
    wanted: Mapping[Part, float | None], rows: Mapping[str, Language], group: Callable[[Language], str]
) -> dict[str, GroupMean]:
    groups: dict[str, dict[Part, float | None]] = {}
    for part, score in wanted.items():
        groups.setdefault(group(rows[part.language]), {})[part] = score
    return {name: _mean(groups[name]) for name in sorted(groups)}


def _mean(wanted: Mapping[Part, float | None]) -> GroupMean:
    by_language: dict[str, list[float]] = {}
    for part, score in wanted.items():
        if score is not None:
            by_language.setdefault(part.language, []).append(score)
    means = [float(np.mean(scores)) for scores in by_language.values()]
    return GroupMean(
        mean=float(np.mean(means)) if means else None,
        languages=len(means),
        missing=tuple(part for part, score in wanted.items() if score is None),
    )


def _order(part: Part) -> tuple[str, str]:
    return part.language, part.subset or ""
