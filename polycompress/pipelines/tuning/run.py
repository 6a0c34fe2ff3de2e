"""Load the model, make its parts, train until it gets no better, and write the best state."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from polycompress.errors import InputError
from polycompress.modeldir.leftovers import remove
from polycompress.pipelines.tuning.config import FinetuneConfig, TrainingPlan, training_config
from polycompress.pipelines.tuning.dev import dev_evaluation
from polycompress.pipelines.tuning.inputs import FinetuneInputs
from polycompress.pipelines.tuning.parts import make_parts, seeded
from polycompress.pipelines.tuning.writing import write_tuned
from polycompress.training.config import TrainingConfig
from polycompress.training.devices import Devices
from polycompress.training.early_stopping import Patience
from polycompress.training.items import Items
from polycompress.training.loader import BatchLoader
from polycompress.training.loop import Parts, TrainState, resume, train
from polycompress.training.metrics import METRICS_FILE, JsonLines, MetricSink, Record, Sinks, Told
from polycompress.training.mixing import LanguageMixer
from polycompress.training.model import first_position
from polycompress.training.run_files import SNAPSHOTS
from polycompress.training.runs import open_run
from polycompress.training.snapshots import Snapshot, best_snapshot, damage, find_snapshot, load_snapshot
from polycompress.training.state import restore
from polycompress.training.task_model import HeadedModel

logger = logging.getLogger(__name__)


def run_finetune(
    inputs: FinetuneInputs,
    loaded: HeadedModel,
    config: FinetuneConfig,
    plan: TrainingPlan,
    out: Path,
    *,
    record: Mapping[str, Any],
    identity: Mapping[str, Any],
    resume_run: bool,
    progress: Callable[[Record], None] | None,
) -> dict[str, Any]:
    """Train one seed, from the beginning or from the newest whole snapshot; the manifest of the result.

    The global generators are put back to where they were.

    Raises:
        PolycompressError: See ``finetune``.
    """
    devices = Devices(precision=inputs.ready.precision, device=config.device)
    snapshot = open_run(out, record, identity, resume=resume_run) if devices.is_main else None
    (step,) = devices.total(
        [float(snapshot.step if snapshot is not None else -1) if devices.is_main else 0.0]
    )
    if not devices.is_main and step >= 0:
        snapshot = find_snapshot(out / SNAPSHOTS, int(step))
    settings = training_config(config, plan, config.seed, inputs.ready.precision)
    with seeded(config.seed * 1_000_003 + devices.rank):
        parts, frozen = _join(
            inputs, loaded, config, plan, settings, out, devices, identity, snapshot, progress
        )
        state, best = _run(parts, settings, snapshot)
        manifest = write_tuned(
            inputs,
            loaded,
            parts.optimiser,
            out,
            devices=devices,
            record=record,
            settings=identity,
            seed=config.seed,
            figures={
                **_figures(state, plan, parts),
                **best.held_out,
                "precision": inputs.ready.precision,
                "device": str(devices.device),
                "processes": devices.world_size,
                "frozen_parameters": frozen,
            },
        )
    if devices.is_main:
        remove(out / SNAPSHOTS)
    return manifest


def _join(
    inputs: FinetuneInputs,
    loaded: HeadedModel,
    config: FinetuneConfig,
    plan: TrainingPlan,
    settings: TrainingConfig,
    out: Path,
    devices: Devices,
    identity: Mapping[str, Any],
    snapshot: Snapshot | None,
    progress: Callable[[Record], None] | None,
) -> tuple[Parts, int]:
    """What the loop needs, and how many parameters are frozen."""
    items = Items(inputs.train_items())
    tuned = make_parts(inputs, loaded, config, plan.head_factor, settings.optimiser, items, devices)
    ready = dataclasses.replace(inputs.ready, model=loaded.model)
    loader = BatchLoader(
        items,
        LanguageMixer(items, seed=config.seed),
        plan.batching,
        pad_id=ready.encoder.pad_id,
        first_position=first_position(loaded.model),
        seed=config.seed,
        rank=devices.rank,
        world_size=devices.world_size,
    )
    parts = Parts(
        task=tuned.task,
        model=loaded.model,
        optimiser=tuned.optimiser,
        data=loader,
        devices=devices,
        metrics=_sinks(out, snapshot.step if snapshot else 0, progress, devices),
        out=out,
        identity=identity,
        evaluate=dev_evaluation(inputs, ready, loaded.head, tuned.optimiser),
        stop=Patience(config.patience),
        locate=items.locate,
    )
    return parts, tuned.frozen


def _run(parts: Parts, settings: TrainingConfig, snapshot: Snapshot | None) -> tuple[TrainState, TrainState]:
    """Train to the end, and bring the model to its best state; the states of both moments."""
    try:
        state = TrainState()
        if snapshot is not None:
            state = resume(parts, load_snapshot(snapshot))
            logger.info("%s: going on after step %d", parts.out, state.step)
        parts.task.module.train()
        state = train(parts, settings, state)
    finally:
        parts.metrics.close()
    if state.best_step in (0, state.step):
        return state, state
    return state, _back_to_best(parts, state)


def _back_to_best(parts: Parts, state: TrainState) -> TrainState:
    """Bring the model to its best state on the development examples.

    Raises:
        InputError: Its snapshot is gone or damaged.
    """
    best = best_snapshot(parts.out / SNAPSHOTS)
    trouble = "it is missing" if best is None or best.step != state.best_step else damage(best)
    if best is None or trouble is not None:
        raise InputError(
            f"{parts.out / SNAPSHOTS}: the snapshot of the best state, step {state.best_step}, cannot be used: "
            f"{trouble}. Remove the run's directory and start it again."
        )
    saved = load_snapshot(best)
    restore(
        saved,
        model=parts.model,
        optimiser=parts.optimiser,
        devices=parts.devices,
        generators=parts.generators,
    )
    return TrainState(**saved["state"])


def _sinks(out: Path, after: int, progress: Callable[[Record], None] | None, devices: Devices) -> MetricSink:
    if not devices.is_main:
        return Sinks([])
    sinks: list[MetricSink] = [JsonLines(out / METRICS_FILE, after_step=after)]
    if progress is not None:
        sinks.append(Told(progress))
    return Sinks(sinks)


def _figures(state: TrainState, plan: TrainingPlan, parts: Parts) -> dict[str, Any]:
    return {
        "steps": state.step,
        "steps_planned": plan.steps,
        "epochs": state.step / plan.steps_per_epoch,
        "best_step": state.best_step,
        "stopped_early": state.step < plan.steps,
        "tokens": state.tokens,
        "language_tokens": dict(parts.data.tokens),
        "batch_tokens": plan.batching.token_budget,
        "learning_rate": plan.learning_rate,
        "head_learning_rate": plan.learning_rate * plan.head_factor,
        "seconds": state.seconds,
    }
