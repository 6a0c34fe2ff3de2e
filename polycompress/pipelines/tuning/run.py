"""Load the model, make its parts, train until it gets no better, and write the best state."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycompress.errors import InputError
from polycompress.modeldir.leftovers import remove
from polycompress.pipelines.tuning.config import FinetuneConfig, TrainingPlan, training_config
from polycompress.pipelines.tuning.dev import dev_evaluation
from polycompress.pipelines.tuning.inputs import FinetuneInputs
from polycompress.pipelines.tuning.parts import Tuned, make_parts, seeded
from polycompress.pipelines.tuning.sinks import make_sinks
from polycompress.pipelines.tuning.writing import write_tuned
from polycompress.training.config import OptimiserConfig, TrainingConfig
from polycompress.training.devices import Devices
from polycompress.training.early_stopping import Patience
from polycompress.training.items import Items
from polycompress.training.loader import BatchLoader
from polycompress.training.loop import Parts, TrainState, resume, train
from polycompress.training.metrics import Record
from polycompress.training.mixing import LanguageMixer
from polycompress.training.model import first_position
from polycompress.training.optimisers import SplitAdamW
from polycompress.training.run_files import SNAPSHOTS
from polycompress.training.runs import begun_run
from polycompress.training.snapshots import Snapshot, best_snapshot, damage, load_snapshot
from polycompress.training.state import restore
from polycompress.training.task_model import HeadedModel

logger = logging.getLogger(__name__)

Maker = Callable[[FinetuneInputs, HeadedModel, FinetuneConfig, float, OptimiserConfig, Items, Devices], Tuned]
"""Puts loss and optimiser around a model; ``make_parts`` is one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """A model that was trained and is at its best state."""

    optimiser: SplitAdamW
    frozen: int
    """Parameters that were not trained."""
    figures: Mapping[str, Any]
    """How it went."""


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
    with (
        begun_run(out, record, identity, devices, resume=resume_run) as snapshot,
        seeded(config.seed * 1_000_003 + devices.rank),
    ):
        done = tune(
            inputs, loaded, config, plan, out, devices, snapshot, identity=identity, progress=progress
        )
        manifest = write_tuned(
            inputs,
            loaded,
            done.optimiser,
            out,
            devices=devices,
            record=record,
            settings=identity,
            seed=config.seed,
            figures={
                **done.figures,
                "precision": inputs.ready.precision,
                "device": str(devices.device),
                "processes": devices.world_size,
                "frozen_parameters": done.frozen,
            },
        )
    if devices.is_main:
        remove(out / SNAPSHOTS)
    return manifest


def tune(
    inputs: FinetuneInputs,
    loaded: HeadedModel,
    config: FinetuneConfig,
    plan: TrainingPlan,
    out: Path,
    devices: Devices,
    snapshot: Snapshot | None,
    *,
    identity: Mapping[str, Any],
    progress: Callable[[Record], None] | None,
    make: Maker = make_parts,
    judge: bool = True,
) -> Tuning:
    """Train, from the beginning or from a snapshot, and bring the model to its best state.

    Args:
        inputs: Of the run.
        loaded: Its model, which is changed.
        config: Its settings.
        plan: What follows from them.
        out: Its directory.
        devices: The processes.
        snapshot: To go on from.
        identity: What the run is, for its snapshots.
        progress: Told each record of the log.
        make: Puts loss and optimiser around the model.
        judge: Whether the best state on the development examples is the result; otherwise the last one is, as for a
            model whose head learns nothing.

    Raises:
        PolycompressError: See ``polycompress.training.loop.train``.
    """
    settings = training_config(config, plan, config.seed, inputs.ready.precision)
    items = Items(inputs.train_items())
    tuned = make(inputs, loaded, config, plan.head_factor, settings.optimiser, items, devices)
    parts = _join(
        inputs, loaded, config, plan, tuned, items, out, devices, identity, snapshot, progress, judge
    )
    state, best = _run(parts, settings, snapshot)
    return Tuning(
        optimiser=tuned.optimiser,
        frozen=tuned.frozen,
        figures={**_figures(state, plan, parts), **best.held_out},
    )


def _join(
    inputs: FinetuneInputs,
    loaded: HeadedModel,
    config: FinetuneConfig,
    plan: TrainingPlan,
    tuned: Tuned,
    items: Items,
    out: Path,
    devices: Devices,
    identity: Mapping[str, Any],
    snapshot: Snapshot | None,
    progress: Callable[[Record], None] | None,
    judge: bool,
) -> Parts:
    """What the loop needs."""
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
    return Parts(
        task=tuned.task,
        model=tuned.model,
        optimiser=tuned.optimiser,
        data=loader,
        devices=devices,
        metrics=make_sinks(out, snapshot.step if snapshot else 0, progress, devices),
        out=out,
        identity=identity,
        evaluate=dev_evaluation(inputs, ready, loaded.head, tuned.optimiser) if judge else None,
        watcher=tuned.watcher,
        stop=Patience(config.patience),
        locate=items.locate,
    )


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
