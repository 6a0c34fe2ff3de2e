"""Judge a model on one task: scores by language, averages, loyalty to a teacher, and what stands beside them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from polycompress.evaluation.metrics.averages import average_scores
from polycompress.evaluation.provenance import machine, versions
from polycompress.evaluation.records import Example, Part
from polycompress.evaluation.results import KIND, SCHEMA
from polycompress.evaluation.scoring import examples_hash, find_metric
from polycompress.pipelines.judging.baseline import losses_to_baseline, measure_baseline
from polycompress.pipelines.judging.judges import Response, open_judge
from polycompress.pipelines.judging.loyalty import loyalty_of, mean_loyalty
from polycompress.pipelines.judging.parts import ALL, read_parts
from polycompress.pipelines.judging.published import published_beside
from polycompress.pipelines.judging.request import Request, find_request
from polycompress.pipelines.judging.rows import averages, score_row, summarise_seeds
from polycompress.pipelines.judging.settings import RESAMPLES, EvaluationSettings
from polycompress.pipelines.trimming.gathering import Progress

Examples = Mapping[Part, Sequence[Example]]


def evaluate(
    model: str | os.PathLike[str],
    *,
    task: str,
    langs: str | Sequence[str] = ALL,
    data: str | os.PathLike[str] | None = None,
    split: str = "test",
    teacher: str | os.PathLike[str] | None = None,
    baseline: bool = False,
    limit: int | None = None,
    tasks: Path | None = None,
    settings: EvaluationSettings | None = None,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Judge a model on one task.

    Args:
        model: A directory, a run of ``finetune`` (all its seeds), the word ``demo``, or ``owner/name[@revision]``.
        task: Id of the task.
        langs: Languages as a list or joined by commas, or ``all`` that there are.
        data: A data directory; None: the data sets of the hub.
        split: ``test``, ``dev`` or ``train``.
        teacher: Also measure how loyal the model is to this one, on the same texts.
        baseline: Also measure what a bag of words reaches.
        limit: First examples of each language only.
        tasks: A directory of further task files.
        settings: Everything else that decides a score.
        progress: Called as work goes on.
        command: What to record as the command.

    Returns:
        The result, as its file holds it.

    Raises:
        InputError: Model, task, language or data are missing or wrong.
        MissingExtraError: A package is not installed.
    """
    request = find_request(
        model,
        task=task,
        langs=langs,
        data=data,
        split=split,
        teacher=teacher,
        limit=limit,
        tasks=tasks,
        settings=settings,
    )
    return evaluate_request(request, baseline=baseline, progress=progress, command=command)


def evaluate_request(
    request: Request,
    *,
    baseline: bool = False,
    known: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
) -> dict[str, Any]:
    """As ``evaluate``, of what ``find_request`` found.

    Args:
        request: What was found.
        baseline: Also measure what a bag of words reaches.
        known: An earlier result, whose baseline is taken over where it fits.
        progress: Called as work goes on.
        command: What to record as the command.
    """
    began = time.perf_counter()
    task, settings = request.task, request.settings
    metric = find_metric(task.metric)
    examples = read_parts(
        task, request.parts.found, request.split, data=request.data, limit=request.limit, progress=progress
    )
    judged = _judge(request, examples, progress)
    rows = [
        score_row(
            metric,
            part,
            judged.counts[part],
            keys=examples_hash(examples[part]),
            resamples=RESAMPLES,
            seed=settings.seed,
        )
        for part in examples
    ]
    trained = request.model.trained_on
    published, notes = published_beside(request)
    found_baseline = None
    if baseline:
        found_baseline = measure_baseline(
            task,
            examples,
            trained_on=trained,
            data=request.data,
            known=(known or {}).get("baseline"),
            progress=progress,
        )
    return {
        "schema": SCHEMA,
        "kind": KIND,
        "task": task.id,
        "split": request.split,
        "metric": metric.name,
        "model": request.model.facts(),
        "seeds": list(request.model.seeds),
        "scores": rows,
        "averages": averages(rows, request.parts.missing, trained),
        "over_seeds": summarise_seeds(rows, metric.least if task.chance is None else task.chance, trained),
        "loyalty": judged.loyalty,
        "baseline": found_baseline,
        "published": published,
        "notes": [*notes, *losses_to_baseline(found_baseline, rows, trained)],
        "settings": {
            **settings.as_dict(),
            "precision": judged.precision,
            "max_length": judged.max_length,
            "limit": request.limit,
            "door": "local files" if request.data is not None else "hub",
            "protocol": task.protocol_at(request.data),
            "chance": task.chance,
        },
        "identity": request.identity(),
        "machine": machine(),
        "versions": versions(),
        "seconds": round(time.perf_counter() - began, 1),
        "date": datetime.now(UTC).date().isoformat(),
        "command": list(command or ()),
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class _Judged:
    counts: Mapping[Part, list[Any]]
    """Of each part, what each seed's model did with each example."""
    loyalty: dict[str, Any] | None
    precision: str
    max_length: int


def _judge(request: Request, examples: Examples, progress: Progress | None) -> _Judged:
    """Run the teacher, then the models, one at a time."""
    taught: Mapping[Part, Response] = {}
    if request.teacher is not None:
        taught = _respond(request, request.teacher.paths[0], examples, progress, hidden=True).responses
    counts: dict[Part, list[Any]] = {part: [] for part in examples}
    loyalties: dict[Part, list[dict[str, float]]] = {part: [] for part in examples}
    for path in request.model.paths:
        heard = _respond(request, path, examples, progress, hidden=bool(taught))
        for part, response in heard.responses.items():
            counts[part].append(response.counts)
            if taught:
                loyalties[part].append(loyalty_of(response, taught[part], part.language))
    loyalty = None
    if request.teacher is not None:
        scores = {part: mean_loyalty(each) for part, each in loyalties.items()}
        names = dict.fromkeys(name for each in scores.values() for name in each)
        loyalty = {
            "teacher": request.teacher.name,
            "scores": {str(part): each for part, each in scores.items()},
            "mean": {
                name: average_scores({part: each.get(name) for part, each in scores.items()}).all.mean
                for name in names
            },
        }
    return _Judged(
        counts=counts,
        loyalty=loyalty,
        precision=heard.precision,
        max_length=heard.max_length,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Heard:
    """What one model said; the model itself is let go."""

    responses: Mapping[Part, Response]
    precision: str
    max_length: int


def _respond(
    request: Request, path: Path, examples: Examples, progress: Progress | None, *, hidden: bool
) -> _Heard:
    judge = open_judge(path, request.task, request.settings)
    found = {}
    total = sum(map(len, examples.values()))
    for part, each in examples.items():
        found[part] = judge.respond(each, part.language, hidden=hidden)
        if progress is not None:
            progress(f"{request.task.id}, {path.parent.name}/{path.name}", len(each), total)
    model = judge.model
    return _Heard(responses=found, precision=model.precision, max_length=model.encoder.max_length)
