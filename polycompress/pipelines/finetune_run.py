"""Load the model, make its parts, train until it gets no better, and write the best state."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from polycompress.errors import InputError
from polycompress.evaluation.records import Kind
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.modeldir.leftovers import remove
from polycompress.pipelines.finetune_config import FinetuneConfig, TrainingPlan, training_config
from polycompress.pipelines.finetune_dev import dev_evaluation
from polycompress.pipelines.finetune_inputs import FinetuneInputs
from polycompress.pipelines.finetune_writing import write_tuned
from polycompress.pipelines.source_model import SourceModel
from polycompress.training.devices import Devices
from polycompress.training.early_stopping import Patience
from polycompress.training.items import Items
from polycompress.training.loader import BatchLoader
from polycompress.training.loop import Parts, TrainState, resume, train
from polycompress.training.metrics import METRICS_FILE, JsonLines, MetricSink, Record, Sinks, Told
from polycompress.training.mixing import LanguageMixer
from polycompress.training.model import first_position, make_table_sparse
from polycompress.training.optimisers import SplitAdamW, param_groups
from polycompress.training.parameter_groups import (
    HEAD,
    Freeze,
    ParameterGroups,
    at_rates,
    check_freeze,
    freeze_,
    name_groups,
)
from polycompress.training.rows import find_tables
from polycompress.training.run_files import SNAPSHOTS
from polycompress.training.runs import open_run
from polycompress.training.snapshots import best_snapshot, damage, find_snapshot, load_snapshot
from polycompress.training.state import restore
from polycompress.training.task_loss import FineTuning, TaskLoss, balanced_weights
from polycompress.training.task_model import HeadedModel, HeadKind, load_with_head

logger = logging.getLogger(__name__)

HEADS: Final[Mapping[Kind, HeadKind]] = {
    "pair-classification": "sequence",
    "text-classification": "sequence",
    "token-classification": "token",
    "question-answering": "span",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuned:
    """What is made once for a seed."""

    loaded: HeadedModel
    objective: TaskLoss
    task: FineTuning
    optimiser: SplitAdamW
    groups: ParameterGroups
    frozen: tuple[str, ...]


def load_headed(model: SourceModel, task: TaskSpec, seed: int) -> HeadedModel:
    """Load the model with the head of a task; a new head depends on the seed alone.

    Raises:
        InputError: transformers cannot load it.
    """
    with _seeded(seed):
        return load_with_head(model.path, model.config, HEADS[task.kind], task.labels, task.id)


def check_model(inputs: FinetuneInputs, loaded: HeadedModel, config: FinetuneConfig) -> None:
    """Refuse what the model cannot follow, before anything is written.

    Raises:
        InputError: It has fewer layers than are to be frozen, or its table lacks rows for the tokenizer's ids.
    """
    check_freeze(name_groups(loaded.model), Freeze.parse(config.freeze))
    rows = int(loaded.model.get_input_embeddings().num_embeddings)
    for part in (*inputs.train, *inputs.dev):
        Items([(part.part.language, part.items)]).check_table(rows)


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
    with _seeded(config.seed * 1_000_003 + devices.rank):
        items = Items(inputs.train_items())
        tuned = _make(inputs, loaded, config, plan, items, devices)
        loader = BatchLoader(
            items,
            LanguageMixer(items, seed=config.seed),
            plan.batching,
            pad_id=inputs.ready.encoder.pad_id,
            first_position=first_position(tuned.loaded.model),
            seed=config.seed,
            rank=devices.rank,
            world_size=devices.world_size,
        )
        parts = Parts(
            task=tuned.task,
            model=tuned.loaded.model,
            optimiser=tuned.optimiser,
            data=loader,
            devices=devices,
            metrics=_sinks(out, snapshot.step if snapshot else 0, progress, devices),
            out=out,
            identity=identity,
            evaluate=dev_evaluation(
                inputs, dataclasses.replace(inputs.ready, model=loaded.model), loaded.head, tuned.optimiser
            ),
            stop=Patience(config.patience) if config.patience else None,
            locate=items.locate,
        )
        try:
            state = TrainState()
            if snapshot is not None:
                state = resume(parts, load_snapshot(snapshot))
                logger.info("%s: going on after step %d", out, state.step)
            tuned.task.module.train()
            state = train(parts, settings, state)
        finally:
            parts.metrics.close()
        last = state
        if state.best_step not in (0, state.step):
            last = _back_to_best(parts, state)
        manifest = write_tuned(
            inputs,
            tuned.loaded,
            tuned.optimiser,
            out,
            devices=devices,
            record=record,
            settings=identity,
            seed=config.seed,
            figures={
                **_figures(state, plan, loader, config),
                **last.held_out,
                "precision": inputs.ready.precision,
                "device": str(devices.device),
                "processes": devices.world_size,
                "frozen_parameters": sum(
                    parameter.numel()
                    for name, parameter in tuned.loaded.model.named_parameters()
                    if name in set(tuned.frozen)
                ),
            },
        )
    if devices.is_main:
        remove(out / SNAPSHOTS)
    return manifest


def _make(
    inputs: FinetuneInputs,
    loaded: HeadedModel,
    config: FinetuneConfig,
    plan: TrainingPlan,
    items: Items,
    devices: Devices,
) -> Tuned:
    model = loaded.model
    groups = name_groups(model)
    freeze = Freeze.parse(config.freeze)
    frozen = freeze_(model, groups, freeze)
    is_sparse = not freeze.embeddings and make_table_sparse(model)
    objective = TaskLoss(model, loaded.head, _class_weights(config, items, len(inputs.task.labels)))
    module = devices.wrap(objective, find_tables(objective))
    heads = set(groups.groups[HEAD])
    optimiser = SplitAdamW(
        at_rates(
            param_groups(model, config.weight_decay),
            [parameter for name, parameter in model.named_parameters() if name in heads],
            plan.head_factor,
        ),
        lr=config.learning_rate,
        betas=(0.9, 0.98),
        eps=1e-6,
    )
    task = FineTuning(objective, module, items, device=devices.device, is_sparse=is_sparse)
    return Tuned(
        loaded=loaded, objective=objective, task=task, optimiser=optimiser, groups=groups, frozen=frozen
    )


def _class_weights(config: FinetuneConfig, items: Items, classes: int) -> torch.Tensor | None:
    if not config.class_weights:
        return None
    labels = np.concatenate([items[number].labels for number in range(len(items))])
    counts = np.bincount(labels[labels >= 0], minlength=classes)
    return torch.from_numpy(balanced_weights(counts)).float()


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


def _figures(
    state: TrainState, plan: TrainingPlan, loader: BatchLoader, config: FinetuneConfig
) -> dict[str, Any]:
    return {
        "steps": state.step,
        "steps_planned": plan.steps,
        "epochs": state.step / plan.steps_per_epoch,
        "best_step": state.best_step,
        "stopped_early": state.step < plan.steps,
        "tokens": state.tokens,
        "language_tokens": dict(loader.tokens),
        "batch_tokens": plan.batching.token_budget,
        "learning_rate": config.learning_rate,
        "head_learning_rate": config.learning_rate * plan.head_factor,
        "seconds": state.seconds,
    }


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's generators begin at a seed inside of the block, and are as they were after it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed % 2**63)
        yield
