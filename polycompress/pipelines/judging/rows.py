"""From what every example got to the rows, averages and seeds of a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycompress.evaluation.metrics.averages import average_scores, over_seeds
from polycompress.evaluation.metrics.intervals import bootstrap_interval
from polycompress.evaluation.packing import pack_counts
from polycompress.evaluation.records import Part
from polycompress.evaluation.scoring import Metric, mean_over_models, score, score_details, side_by_side

Rows = list[dict[str, Any]]


def score_row(
    metric: Metric, part: Part, counts: Sequence[NDArray[Any]], *, keys: str, resamples: int, seed: int
) -> dict[str, Any]:
    """One part of a result.

    Args:
        metric: The task's.
        part: Language and subset.
        counts: Of each seed's model, (n, k) the metric's columns.
        keys: Says which examples they are.
        resamples: Of the bootstrap.
        seed: Of its draws.

    Returns:
        For JSON: the mean score over seeds with its interval over examples, each seed's score, and what each example
        got.
    """
    scores = [score(metric, each) for each in counts]
    low, high = bootstrap_interval(
        side_by_side(counts), mean_over_models(metric, len(counts)), resamples=resamples, seed=seed
    )
    details = [score_details(metric, each) for each in counts]
    return {
        "language": part.language,
        "subset": part.subset,
        "examples": len(counts[0]),
        "score": float(np.mean(scores)),
        "low": low,
        "high": high,
        "spread": over_seeds(scores).spread,
        "per_seed": scores,
        "details": {name: float(np.mean([each[name] for each in details])) for name in details[0]},
        "outcomes": {
            "columns": list(metric.columns),
            "keys": keys,
            "per_seed": [pack_counts(each) for each in counts],
        },
    }


def averages(rows: Rows, missing: Sequence[Part], trained: Sequence[str]) -> dict[str, Any]:
    """Averages of a result's rows; what is missing is shown and enters none."""
    scores = {Part(row["language"], row["subset"]): row["score"] for row in rows}
    return average_scores(scores, expected=missing, trained=trained).as_dict()


def summarise_seeds(rows: Rows, chance: float | None, trained: Sequence[str]) -> dict[str, Any] | None:
    """Mean, spread and share of collapsed seeds of the average over all languages; None for a single seed.

    Whether a seed collapsed is told by the languages that were trained on, where they are among the rows: far from
    these even a good model may be near chance.
    """
    if not rows or len(rows[0]["per_seed"]) < 2:
        return None
    means = _average_of_each_seed(rows)
    near = [row for row in rows if row["language"] in trained] or rows
    found = over_seeds(means, chance=chance)
    collapsed = over_seeds(_average_of_each_seed(near), chance=chance).collapsed
    return {**found.as_dict(), "collapsed": collapsed, "per_seed": means}


def _average_of_each_seed(rows: Rows) -> list[float]:
    parts = [Part(row["language"], row["subset"]) for row in rows]
    means = []
    for values in zip(*(row["per_seed"] for row in rows), strict=True):
        mean = average_scores(dict(zip(parts, values, strict=True))).all.mean
        assert mean is not None
        means.append(mean)
    return means
