"""What a bag of words reaches on the same examples."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from polycompress.errors import InputError
from polycompress.evaluation.baselines import METHODS, Baseline
from polycompress.evaluation.loading import load_examples
from polycompress.evaluation.records import Example, Part, TextExample
from polycompress.evaluation.scoring import examples_hash
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.pipelines.trimming.gathering import Progress

logger = logging.getLogger(__name__)

SOURCE = "eng-Latn"
"""Trained on where a model's own training languages are not known."""


def measure_baseline(
    task: TaskSpec,
    examples: Mapping[Part, Sequence[Example]],
    *,
    trained_on: Sequence[str],
    data: Path | None,
    known: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any] | None:
    """Fit the task's baseline to what there is to train on, and score it.

    Args:
        task: The task.
        examples: What a model was judged on.
        trained_on: Languages that the model was tuned in: pairs are also scored by a baseline fitted to these. Empty:
            English.
        data: Where training examples come from, as for ``load_examples``.
        known: A baseline that an earlier result holds; returned where it is of the same examples.
        progress: Called as work goes on.

    Returns:
        For JSON: the method, and accuracies by part, ``in-language`` and ``from CODE``; none where there is nothing to
        learn from, which is said. None where the kind of task has no baseline.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    if task.kind not in METHODS:
        return None
    sources = list(trained_on) or [SOURCE]
    measured = {str(part): examples_hash(each) for part, each in examples.items()}
    identity = {"task": task.id, "sources": sources, "examples": measured}
    if known is not None and known.get("identity") == identity:
        return dict(known)
    tests = {part: cast("Sequence[TextExample]", each) for part, each in examples.items()}
    train = _training_parts(task, data)
    scores: dict[str, dict[str, float]] = {}
    if task.kind == "pair-classification":
        fitted_on = [part for part in train if part.language in sources]
        if fitted_on:
            model = _fitted(task, fitted_on, data)
            if model is not None:
                scores[f"from {', '.join(sources)}"] = {
                    str(part): model.accuracy(each) for part, each in tests.items()
                }
    own = {}
    for part, each in tests.items():
        model = _fitted(task, [part], data) if part in train else None
        if model is not None:
            own[str(part)] = model.accuracy(each)
        if progress is not None:
            progress(f"bag of words for {task.id}", 1, len(tests))
    scores["in-language"] = own
    return {"method": METHODS[task.kind], "scores": scores, "identity": identity}


def losses_to_baseline(
    baseline: Mapping[str, Any] | None, rows: Sequence[Mapping[str, Any]], trained_on: Sequence[str]
) -> list[str]:
    """Say where a model is below its bag of words: a fault to be found.

    In languages that it was tuned in the baseline of the language itself counts, elsewhere one that was fitted to the
    same languages as the model.
    """
    if baseline is None:
        return []
    own = baseline["scores"].get("in-language", {})
    carried: Mapping[str, float] = next(
        (scores for name, scores in baseline["scores"].items() if name.startswith("from ")), {}
    )
    below = []
    for row in rows:
        part = str(Part(row["language"], row["subset"]))
        reference = (own if row["language"] in trained_on else carried).get(part)
        if reference is not None and row["score"] < reference:
            below.append(part)
    return [f"below the bag of words, which points to a fault: {', '.join(below)}"] if below else []


def _training_parts(task: TaskSpec, data: Path | None) -> list[Part]:
    try:
        return task.languages("train", data)
    except InputError as error:
        logger.warning("%s: no baseline can be fitted: %s", task.id, error)
        return []


def _fitted(task: TaskSpec, parts: Sequence[Part], data: Path | None) -> Baseline | None:
    """A baseline of the training examples of some parts; None where there are none that will do."""
    train: list[TextExample] = []
    try:
        for part in parts:
            train += cast("Sequence[TextExample]", load_examples(task, part, "train", data=data))
        return Baseline(task.kind, train)
    except InputError as error:
        logger.warning("no baseline in %s: %s", ", ".join(map(str, parts)), error)
        return None
