"""Fine-tuning: a model learns a task in some languages, with one seed or several."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polycompress
from polycompress.errors import InputError
from polycompress.evaluation.models import task_model
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.evaluation.tasks import find_task
from polycompress.languages import Language
from polycompress.modeldir.figures import part_of
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.trimming.loading import asked_languages
from polycompress.pipelines.tuning.config import FinetuneConfig, TrainingPlan, plan_training
from polycompress.pipelines.tuning.data import TaskData, check_trainable, read_task_data
from polycompress.pipelines.tuning.folders import check_folders, run_folders, unfinished
from polycompress.pipelines.tuning.inputs import FinetuneInputs, FinetuneRequest, encode_inputs, identity_of
from polycompress.pipelines.tuning.parts import check_model, hidden_size, load_headed
from polycompress.pipelines.tuning.run import run_finetune
from polycompress.pipelines.tuning.source_model import SourceModel, find_source_model
from polycompress.pipelines.tuning.summary import SUMMARY, summarise, write_summary
from polycompress.training.config import read_config
from polycompress.training.errors import ConfigError
from polycompress.training.metrics import Record
from polycompress.training.run_files import FINAL
from polycompress.training.task_model import HeadedModel

logger = logging.getLogger(__name__)

Tell = Callable[[str, int, int | None], None]
Read = Callable[[TaskSpec, Sequence[Language], Path | None, int | None], TaskData]
"""Where examples come from: of a task, in languages, in a data directory, the first so many of each part."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneResult:
    """A finished fine-tuning."""

    out: Path
    runs: Mapping[int, Path]
    """The run of each seed; of one seed it is ``out``."""
    manifests: Mapping[int, Mapping[str, Any]]
    """Of each seed's model."""
    summary: Mapping[str, Any]
    """Development scores of all seeds."""

    @property
    def finals(self) -> tuple[Path, ...]:
        """The tuned model of each seed."""
        return tuple(run / FINAL for run in self.runs.values())

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"out": str(self.out), "final": [str(path) for path in self.finals], **self.summary}


def finetune(
    model: str | os.PathLike[str],
    *,
    task: str,
    train_langs: str | Sequence[str],
    out: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    seeds: int = 1,
    limit: int | None = None,
    tasks: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: Callable[[Record], None] | None = None,
    tell: Tell | None = None,
    command: Sequence[str] | None = None,
) -> FinetuneResult:
    """Fine-tune a model on a task.

    The best state on the development examples of the source languages becomes the result. Global generators are as they
    were afterwards.

    Args:
        model: A directory, the word ``demo``, or ``owner/name[@revision]`` on the Hugging Face hub.
        task: Its id, such as ``ner-wikiann``.
        train_langs: Source languages: codes or names, as a list or joined by commas.
        out: The run's directory: ``config.json``, ``metrics.jsonl``, ``final/``, and ``snapshots/`` until it is
            finished. With several seeds it holds a run for each, ``seed-0`` and so on, and ``summary.json``.
        data: A data directory; None: the hub.
        settings: Fields of ``FinetuneConfig``, as plain values.
        seeds: How many, from the setting ``seed`` on.
        limit: Only the first so many training examples of each part.
        tasks: A directory of task files of your own.
        resume: Go on where a run ended before its time; finished seeds are left as they are.
        progress: Told each record of ``metrics.jsonl``.
        tell: Told what is being prepared: what, how much more, how much in all.
        command: What to record as the command.

    Raises:
        InputError: The model, the task, the languages or the settings are wrong; of settings every fault is named.
        PolycompressError: A run ended before its time; see ``polycompress.training.loop.train``.
    """
    config = read_settings(settings or {}, seeds, limit)
    spec = find_task(task, Path(tasks) if tasks is not None else None)
    check_trainable(spec)
    if config.class_weights and not spec.labels:
        raise InputError(f"class_weights is True, but task {spec.id} ({spec.kind}) has no classes to weigh.")
    request = FinetuneRequest(
        task=spec,
        languages=asked_languages(train_langs),
        data=Path(data) if data is not None else None,
        limit=limit,
        config=config,
    )
    where = Path(out)
    runs = run_folders(where, config.seed, seeds)
    check_folders(where, runs, resume=resume)
    source = find_source_model(model, where)
    left = unfinished(runs)
    if left:
        inputs, first, plan = prepare(source, request, next(iter(left)), tell)
        _train(inputs, first, plan, left, _record(source, request, command), resume, progress, tell)
    else:
        logger.warning("%s: the run is finished; nothing is left to do", where)
    manifests = {seed: read_manifest(run / FINAL) or {} for seed, run in runs.items()}
    summary = summarise(spec, {seed: part_of(manifest, "finetuning") for seed, manifest in manifests.items()})
    if seeds > 1:
        write_summary(where / SUMMARY, summary)
    return FinetuneResult(out=where, runs=runs, manifests=manifests, summary=summary)


def read_settings(settings: Mapping[str, Any], seeds: int, limit: int | None) -> FinetuneConfig:
    """Check everything that was asked for at once.

    Raises:
        ConfigError: With every fault.
    """
    subject = "The configuration of finetune"
    more = [
        f"{name} is {value!r}: give at least 1"
        for name, value in (("seeds", seeds), ("limit", limit))
        if value is not None and value < 1
    ]
    try:
        config = read_config(FinetuneConfig, settings, subject)
    except ConfigError as error:
        raise ConfigError([*error.faults, *more], subject) from error
    if more:
        raise ConfigError(more, subject)
    return config


def prepare(
    source: SourceModel,
    request: FinetuneRequest,
    seed: int,
    tell: Tell | None,
    read: Read = read_task_data,
) -> tuple[FinetuneInputs, HeadedModel, TrainingPlan]:
    """Read the examples, load the first seed's model, and decide what the settings leave open.

    Args:
        source: The model.
        request: What is asked for.
        seed: The first.
        tell: Told what is being prepared.
        read: Where the examples come from.

    Raises:
        InputError: Examples, model and settings do not go together; nothing has been written.
    """
    task, config = request.task, request.config
    if tell is not None:
        tell("reading examples", 0, None)
    found = read(task, request.languages, request.data, request.limit)
    if tell is not None:
        tell("loading the model", 0, None)
    first = load_headed(source, task, seed)
    ready = task_model(
        first.model,
        source.tokenizer_json,
        kind=task.kind,
        labels=task.labels,
        config=source.config,
        tokenizer_config=source.tokenizer_config,
        device=config.device,
        precision=config.precision,
        max_length=config.max_length,
        where=str(source.path),
    )
    inputs = encode_inputs(source, request, found, ready)
    check_model(inputs, first, config)
    plan = plan_training(
        config, task.kind, inputs.lengths, examples=inputs.examples, width=hidden_size(first.model)
    )
    _log_plan(inputs, plan)
    return inputs, first, plan


def _train(
    inputs: FinetuneInputs,
    first: HeadedModel | None,
    plan: TrainingPlan,
    runs: Mapping[int, Path],
    record: Mapping[str, Any],
    resume: bool,
    progress: Callable[[Record], None] | None,
    tell: Tell | None,
) -> None:
    """Train the seeds one after another."""
    for seed, run in runs.items():
        if len(runs) > 1 and tell is not None:
            tell(f"seed {seed}", 0, None)
        model = first if first is not None else load_headed(inputs.model, inputs.task, seed)
        first = None
        config = dataclasses.replace(inputs.request.config, seed=seed)
        run_finetune(
            inputs,
            model,
            config,
            plan,
            run,
            record=record,
            identity=identity_of(inputs, config, plan),
            resume_run=resume and run.exists(),
            progress=progress,
        )
        del model


def _log_plan(inputs: FinetuneInputs, plan: TrainingPlan) -> None:
    logger.info(
        "%s: %d training examples, %d steps of up to %d tokens (%.3g epochs), judged every %d on %d examples, %s",
        inputs.task.id,
        inputs.examples,
        plan.steps,
        plan.batching.token_budget,
        plan.epochs,
        plan.evaluate_every,
        sum(len(part.examples) for part in inputs.dev),
        inputs.ready.precision,
    )


def _record(source: SourceModel, request: FinetuneRequest, command: Sequence[str] | None) -> dict[str, Any]:
    return {
        "tool": {"name": "polycompress", "version": polycompress.__version__},
        "command": list(command or ()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": source.short_record(),
        "task": request.task.id,
        "languages": [{"code": language.code, "name": language.name} for language in request.languages],
    }
