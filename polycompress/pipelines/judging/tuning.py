"""The model that an entry of a suite needs: the one that was given, or one that is tuned from it first."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycompress.errors import InputError
from polycompress.evaluation.suites import ALL, SuiteEntry
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.modeldir.directory import file_sha256
from polycompress.modeldir.figures import part_of
from polycompress.modeldir.sources import resolve_model
from polycompress.pipelines.finetune import finetune
from polycompress.pipelines.judging.settings import EvaluationSettings
from polycompress.pipelines.trimming.gathering import Progress
from polycompress.training.run_files import CONFIG, read_run


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """What is tuned for one or several entries of a suite."""

    name: str
    """Of the run's directory."""
    task: TaskSpec
    languages: tuple[str, ...]
    limit: int | None
    epochs: int | None


def plan_tuning(entry: SuiteEntry, task: TaskSpec, data: Path | None, known: dict[Any, Tuning]) -> Tuning:
    """Say what has to be tuned for an entry.

    Args:
        entry: It trains on something.
        task: That of its training examples.
        data: A data directory; None: the hub.
        known: What earlier entries need; entries that need the same share one. The new one is added.

    Raises:
        InputError: There are no training examples in a language.
    """
    there = dict.fromkeys(part.language for part in task.languages("train", data))
    languages = tuple(there) if entry.train_languages == (ALL,) else entry.train_languages
    lacking = [code for code in languages if code not in there]
    if lacking or not languages:
        raise InputError(
            f"{data or 'the hub'}: there are no training examples of {task.id} in "
            f"{', '.join(lacking) or 'any language'}."
        )
    if entry.tuned not in known:
        namesakes = sum(other.task.id == task.id for other in known.values())
        known[entry.tuned] = Tuning(
            name=task.id if not namesakes else f"{task.id}-{namesakes + 1}",
            task=task,
            languages=languages,
            limit=entry.train_limit,
            epochs=entry.epochs,
        )
    return known[entry.tuned]


def tune(
    model: str | os.PathLike[str],
    tuning: Tuning,
    run: Path,
    *,
    data: Path | None,
    seeds: int,
    settings: EvaluationSettings,
    progress: Progress | None,
    command: Sequence[str] | None,
) -> Path:
    """Tune a model, or go on with it where it ended, or find it finished.

    Returns:
        The run's directory.

    Raises:
        InputError: The run that is there is of another model, or see ``finetune``.
        PolycompressError: The run ended before its time.
    """
    _check_same_model(model, run)
    wanted: dict[str, Any] = {"seed": settings.seed, "device": settings.device}
    if tuning.epochs is not None:
        wanted["epochs"] = tuning.epochs
    if settings.precision != "auto":
        wanted["precision"] = settings.precision
    finetune(
        model,
        task=tuning.task.id,
        train_langs=tuning.languages,
        out=run,
        data=data,
        settings=wanted,
        seeds=seeds,
        limit=tuning.limit,
        resume=run.exists(),
        progress=None if progress is None else _steps(f"tuning for {tuning.task.id}", progress),
        tell=progress,
        command=command,
    )
    return run


def _steps(label: str, progress: Progress) -> Callable[[Mapping[str, Any]], None]:
    """Turn records of a run into steps done."""
    seen = 0

    def record(found: Mapping[str, Any]) -> None:
        nonlocal seen
        if found["step"] < seen:  # the next seed
            seen = 0
        progress(label, found["step"] - seen, None)
        seen = found["step"]

    return record


def _check_same_model(model: str | os.PathLike[str], run: Path) -> None:
    """Refuse a run that was begun from another model."""
    started = [folder for folder in (run, *sorted(run.glob("seed-*"))) if (folder / CONFIG).is_file()]
    if not started:
        return
    source = resolve_model(model).path
    for name, recorded in part_of(read_run(started[0])["settings"], "model").items():
        if not (source / name).is_file() or file_sha256(source, name) != recorded:
            raise InputError(
                f"{started[0]}: was tuned from another model ({name} differs). Choose another --out for this one."
            )
