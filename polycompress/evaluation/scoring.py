"""From what a model did with each example to a score: each metric as a function of column means.

Every metric here can be computed from the mean of a few numbers per example: 1 or 0 for accuracy, entities found,
predicted and true for F1. So one bootstrap serves them all, and a result file can keep what each example got.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from polycompress.errors import InputError
from polycompress.evaluation.metrics.entities import f1_of_counts
from polycompress.evaluation.records import Example

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Metric:
    """A score as a function of the columns' means."""

    name: str
    columns: tuple[str, ...]
    """What is known of each example."""
    compute: Callable[[Floats], Floats]
    """(..., k) means of the columns to (...,) scores."""
    details: Mapping[str, Callable[[Floats], Floats]] = field(default_factory=dict)
    """Further numbers of the same kind."""
    least: float | None = None
    """What a model that learnt nothing scores, where that is the same for every task."""


def _column(index: int) -> Callable[[Floats], Floats]:
    return lambda means: means[..., index]


def _ratio(part: Floats, whole: Floats) -> Floats:
    """0 where there is nothing to divide by, as seqeval says."""
    return np.divide(part, whole, out=np.zeros(np.shape(part), np.float64), where=np.asarray(whole) > 0)


METRICS: Final[Mapping[str, Metric]] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", ("correct",), _column(0)),
        Metric(
            "entity-f1",
            ("found", "predicted", "true"),
            f1_of_counts,
            {
                "precision": lambda means: _ratio(means[..., 0], means[..., 1]),
                "recall": lambda means: _ratio(means[..., 0], means[..., 2]),
            },
            least=0.0,
        ),
        Metric("squad-f1", ("f1", "exact"), _column(0), {"exact": _column(1)}, least=0.0),
        Metric(
            "retrieval-accuracy",
            ("to pivot", "from pivot", "to pivot, CSLS", "from pivot, CSLS"),
            _column(0),
            {
                "from pivot": _column(1),
                "to pivot, CSLS": _column(2),
                "from pivot, CSLS": _column(3),
            },
        ),
        Metric("precision-at-1", ("CSLS", "cosine"), _column(0), {"cosine": _column(1)}),
    )
}
"""By the name that a task gives. Retrieval is scored from the language to the pivot by cosine, as XTREME does it, word
translation from the pivot to the language with CSLS, as MUSE does it; the rest stands in the details."""


def find_metric(name: str) -> Metric:
    """The metric of a task.

    Raises:
        InputError: There is none of that name.
    """
    if name not in METRICS:
        raise InputError(f"There is no metric {name!r}. The metrics are {', '.join(METRICS)}.")
    return METRICS[name]


def score(metric: Metric, counts: NDArray[Any]) -> float:
    """The score of one model.

    Args:
        metric: Which.
        counts: (n, k) its columns, n > 0.
    """
    return float(metric.compute(_means(counts)))


def score_details(metric: Metric, counts: NDArray[Any]) -> dict[str, float]:
    """The metric's further numbers, by name."""
    means = _means(counts)
    return {name: float(compute(means)) for name, compute in metric.details.items()}


def mean_over_models(metric: Metric, models: int) -> Callable[[Floats], Floats]:
    """The mean score of several models that saw the same examples, as a function of their columns side by side.

    Args:
        metric: Which.
        models: S of them.

    Returns:
        (..., S * k) means of the columns, model by model, to (...,) scores.
    """

    def compute(means: Floats) -> Floats:
        apart = np.reshape(means, (*means.shape[:-1], models, len(metric.columns)))
        scores: Floats = np.mean(metric.compute(apart), axis=-1)
        return scores

    return compute


def side_by_side(counts: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """(n, S * k) of S models' (n, k) columns.

    Raises:
        ValueError: They are of different examples.
    """
    if len({len(each) for each in counts}) != 1:
        raise ValueError("the models saw different numbers of examples")
    return np.concatenate([np.asarray(each, np.float64) for each in counts], axis=1)


def correct(predicted: NDArray[np.integer[Any]], gold: NDArray[np.integer[Any]]) -> NDArray[np.uint16]:
    """(n, 1): whether each class is right."""
    right: NDArray[np.uint16] = (np.asarray(predicted) == np.asarray(gold)).astype(np.uint16)
    return right[:, None]


def examples_hash(examples: Sequence[Example]) -> str:
    """Says of two lists of examples whether they are the same, in the same order."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(ascii(example).encode("ascii") + b"\n")
    return digest.hexdigest()


def _means(counts: NDArray[Any]) -> NDArray[np.float64]:
    means: NDArray[np.float64] = np.mean(np.asarray(counts, np.float64), axis=0)
    return means
