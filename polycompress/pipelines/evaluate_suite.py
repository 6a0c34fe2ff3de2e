"""Judge a model on several tasks, into a directory; what was done before is not done again."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from polycompress.errors import InputError
from polycompress.evaluation.loading import check_limit
from polycompress.evaluation.models import EMBEDDING_KINDS
from polycompress.evaluation.suites import SuiteEntry, find_suite
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.evaluation.tasks import find_task
from polycompress.pipelines.evaluate_into import check_out, evaluate_into
from polycompress.pipelines.judging.models import JudgedModel, find_models, find_teacher
from polycompress.pipelines.judging.parts import ALL, choose_parts
from polycompress.pipelines.judging.request import find_request
from polycompress.pipelines.judging.settings import EvaluationSettings
from polycompress.pipelines.judging.tuning import Tuning, plan_tuning, tune
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.pipelines.trimming.loading import asked_languages
from polycompress.training.run_files import FINAL

logger = logging.getLogger(__name__)

MODELS: Final = "models"
"""Where in a suite's directory the models lie that were tuned for its tasks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SuiteResult:
    """What came of a suite."""

    suite: str
    results: tuple[dict[str, Any], ...]
    """In the order of the suite."""
    skipped: tuple[str, ...]
    """Tasks that were left out, each with the reason."""

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"suite": self.suite, "results": list(self.results), "skipped": list(self.skipped)}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    """One task of a suite, planned."""

    task: TaskSpec
    langs: str | tuple[str, ...]
    limit: int | None
    tuning: Tuning | None
    """None: the model is judged as it is."""
    teacher: str | os.PathLike[str] | None


def evaluate_suite(
    model: str | os.PathLike[str],
    *,
    suite: str,
    out: str | os.PathLike[str],
    langs: str | Sequence[str] = ALL,
    data: str | os.PathLike[str] | None = None,
    teacher: str | os.PathLike[str] | None = None,
    baseline: bool = False,
    limit: int | None = None,
    seeds: int = 1,
    settings: EvaluationSettings | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    command: Sequence[str] | None = None,
) -> SuiteResult:
    """Judge a model on every task of a suite.

    What has to be tuned first is tuned in ``out/models``. Run again after an interruption it goes on: finished results
    and models of the same request are kept. Tasks of which the data lack the languages or the training examples are
    left out, which is known before any work begins.

    Args:
        model: A directory, the word ``demo``, or ``owner/name[@revision]``. Tasks that it was tuned for already are
            judged as it is.
        suite: Its id.
        out: The directory for results and tuned models.
        langs: Languages as a list or joined by commas, or ``all`` that the suite asks for.
        data: A data directory; None: the data sets of the hub.
        teacher: Also measure loyalty to this one, on tasks that it was tuned for and those that need no tuning.
        baseline: Also measure what a bag of words reaches.
        limit: First examples of each language only; the suite may say fewer.
        seeds: Of each tuning.
        settings: Everything else that decides a score; its seed is the first of tuning.
        overwrite: Do all results again; tuned models are kept.
        progress: Called as work goes on.
        command: What to record as the command.

    Raises:
        InputError: Something is missing or wrong, or no task of the suite can be judged.
        PolycompressError: A tuning ended before its time.
    """
    where, place = Path(out), None if data is None else Path(data)
    check_out(where)
    check_limit(limit)
    chosen = settings or EvaluationSettings()
    given = find_models(model)
    steps, skipped = _plan(suite, given, langs, place, limit, teacher)
    base = _base(model, given) if any(step.tuning for step in steps) else model
    results = []
    for step in steps:
        judged: str | os.PathLike[str] = model
        if step.tuning is not None:
            judged = tune(
                base,
                step.tuning,
                where / MODELS / step.tuning.name,
                data=place,
                seeds=seeds,
                settings=chosen,
                progress=progress,
                command=command,
            )
        request = find_request(
            judged,
            task=step.task.id,
            langs=step.langs,
            data=place,
            teacher=step.teacher,
            limit=step.limit,
            settings=chosen,
        )
        # Called by the model that was given, not by the directory that was tuned from it.
        request = dataclasses.replace(request, model=dataclasses.replace(request.model, name=given.name))
        results.append(
            evaluate_into(
                where, request, baseline=baseline, overwrite=overwrite, progress=progress, command=command
            )
        )
    return SuiteResult(suite=suite, results=tuple(results), skipped=tuple(skipped))


def _plan(
    suite: str,
    given: JudgedModel,
    langs: str | Sequence[str],
    data: Path | None,
    limit: int | None,
    teacher: str | os.PathLike[str] | None,
) -> tuple[list[_Step], list[str]]:
    """What is to be done, and why some of it cannot be."""
    loyal_to = None if teacher is None else find_teacher(teacher)
    steps: list[_Step] = []
    skipped: list[str] = []
    tunings: dict[Any, Tuning] = {}
    for entry in find_suite(suite).entries:
        task = find_task(entry.task)
        codes = _languages(entry, langs)
        try:
            if not codes:
                raise InputError("the suite asks for none of these languages")
            choose_parts(task, codes, "test", data)
            tuning = None
            if entry.train_task is not None and given.task != entry.train_task:
                tuning = plan_tuning(entry, find_task(entry.train_task), data, tunings)
        except InputError as error:
            logger.warning("%s is left out: %s", task.id, error)
            skipped.append(f"{task.id}: {error}")
            continue
        steps.append(
            _Step(
                task=task,
                langs=codes,
                limit=min((each for each in (entry.limit, limit) if each is not None), default=None),
                tuning=tuning,
                teacher=teacher if _can_teach(loyal_to, task, entry) else None,
            )
        )
    if not steps:
        raise InputError(
            f"No task of the suite {suite} can be judged:\n" + "\n".join(f"  {each}" for each in skipped)
        )
    return steps, skipped


def _base(model: str | os.PathLike[str], given: JudgedModel) -> str | os.PathLike[str]:
    """What is tuned: of a run its model."""
    if len(given.paths) > 1:
        raise InputError(
            f"{given.spec}: has {len(given.paths)} seeds, but one model is tuned for the tasks of a suite that it was "
            f"not tuned for. Give one, such as {given.paths[0]}."
        )
    return given.paths[0] if (Path(given.spec) / FINAL).is_dir() else model


def _languages(entry: SuiteEntry, langs: str | Sequence[str]) -> str | tuple[str, ...]:
    """What both the suite and the request ask for; empty where that is nothing."""
    if langs == ALL or list(langs) == [ALL]:
        return ALL if entry.test_languages == (ALL,) else entry.test_languages
    asked = tuple(language.code for language in asked_languages(langs))
    if entry.test_languages == (ALL,):
        return asked
    return tuple(code for code in asked if code in entry.test_languages)


def _can_teach(teacher: JudgedModel | None, task: TaskSpec, entry: SuiteEntry) -> bool:
    return teacher is not None and (task.kind in EMBEDDING_KINDS or teacher.task == entry.train_task)
