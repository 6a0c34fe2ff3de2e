"""Two results of one task, compared on the same examples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from polycompress.errors import InputError
from polycompress.evaluation.metrics.intervals import paired_bootstrap
from polycompress.evaluation.records import Part
from polycompress.evaluation.results import StoredScore, read_result, stored_scores
from polycompress.evaluation.scoring import Metric, find_metric, mean_over_models, side_by_side

_MOST_MODELS: Final = 1000


def compare_results(first: Path, second: Path, *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Compare two result files by a paired bootstrap over the examples of each language.

    Of results of several seeds the mean score is compared.

    Args:
        first: A result file.
        second: Another of the same task, split and examples.
        resamples: Of the bootstrap.
        seed: Of its draws.

    Returns:
        For JSON: ``scores`` of each part that both have, with the difference (first less second), its 95 % interval
        and ``p``; the ``mean`` over these parts; ``notes`` on what only one of them has.

    Raises:
        InputError: A file is no result, or they are of different tasks, splits or examples, or share no language.
    """
    if seed < 0:
        raise InputError(f"seed is {seed}: give at least 0.")
    results = [read_result(path) for path in (first, second)]
    for field in ("task", "split", "metric"):
        one, other = (result[field] for result in results)
        if one != other:
            raise InputError(f"{first} has the {field} {one!r}, {second} {other!r}: they cannot be compared.")
    metric = find_metric(results[0]["metric"])
    a, b = (stored_scores(result, path) for result, path in zip(results, (first, second), strict=True))
    shared = sorted(a.keys() & b.keys())
    if not shared:
        raise InputError(f"{first} and {second} have no language in common: {_names(a)} and {_names(b)}.")
    different = [part for part in shared if a[part].keys != b[part].keys]
    if different:
        raise InputError(
            f"{first} and {second} are of different examples in {_names(different)} (another --limit, another version "
            "of the data?), so that they cannot be compared."
        )
    rows = [_row(metric, a[part], b[part], resamples, seed) for part in shared]
    means = {name: float(np.mean([row[name] for row in rows])) for name in ("first", "second", "difference")}
    alone = [
        f"only in {path}, and in no mean here: {_names(sorted(one.keys() - other.keys()))}"
        for path, one, other in ((first, a, b), (second, b, a))
        if one.keys() - other.keys()
    ]
    return {
        "schema": 1,
        "kind": "comparison",
        "task": results[0]["task"],
        "split": results[0]["split"],
        "metric": metric.name,
        "first": _model(results[0], first),
        "second": _model(results[1], second),
        "resamples": resamples,
        "seed": seed,
        "scores": rows,
        "mean": means,
        "notes": alone,
    }


def _row(metric: Metric, a: StoredScore, b: StoredScore, resamples: int, seed: int) -> dict[str, Any]:
    # Each model as often as makes both sides equally many: the means stay what they are.
    models = math.lcm(len(a.outcomes), len(b.outcomes))
    if models > _MOST_MODELS:
        raise InputError(f"{a.part}: {len(a.outcomes)} and {len(b.outcomes)} seeds are too many to compare.")
    one, other = (side_by_side(each.outcomes * (models // len(each.outcomes))) for each in (a, b))
    if one.shape[1] != models * len(metric.columns) or other.shape != one.shape:
        raise InputError(
            f"{a.part}: what each example got has not the columns of {metric.name}. Make both anew."
        )
    statistic = mean_over_models(metric, models)
    test = paired_bootstrap(one, other, statistic, resamples=resamples, seed=seed)
    return {
        "language": a.part.language,
        "subset": a.part.subset,
        "examples": a.examples,
        "first": float(statistic(one.mean(axis=0))),
        "second": float(statistic(other.mean(axis=0))),
        "difference": test.difference,
        "low": test.low,
        "high": test.high,
        "p": test.p,
    }


def _model(result: Mapping[str, Any], path: Path) -> str:
    return f"{result['model'].get('name') or 'a model'} ({path})"


def _names(parts: Iterable[Part]) -> str:
    return ", ".join(map(str, parts)) or "none"
