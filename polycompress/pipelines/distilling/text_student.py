"""Train a student on text, once all is ready to be learnt, and write it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

import polycompress
from polycompress.errors import InputError
from polycompress.modeldir.figures import part_of
from polycompress.pipelines.distilling.config import TextConfig
from polycompress.pipelines.distilling.running import Running
from polycompress.pipelines.distilling.text_answers import LOADERS, lost_mass
from polycompress.pipelines.distilling.text_request import TextRun
from polycompress.pipelines.tuning.sinks import make_sinks
from polycompress.pipelines.tuning.source_model import SourceModel
from polycompress.pipelines.tuning.trained_writing import as_saved, write_trained, writing_notes
from polycompress.training.devices import Devices
from polycompress.training.distilling import Distillation
from polycompress.training.distilling_inputs import Inputs
from polycompress.training.distilling_task import DistillationTask
from polycompress.training.examples import Examples
from polycompress.training.items import Items
from polycompress.training.loader import BatchLoader
from polycompress.training.loop import Companion, Parts, TrainState, resume, train
from polycompress.training.masking import Objective, causal_lm, masked_lm
from polycompress.training.metrics import Record
from polycompress.training.mixing import LanguageMixer, Stage
from polycompress.training.model import Kind, LoadedModel, longest_text, make_table_sparse, output_is_tied
from polycompress.training.optimisers import SplitAdamW, param_groups
from polycompress.training.parameter_groups import EMBEDDINGS, name_groups
from polycompress.training.rows import find_tables
from polycompress.training.run_files import FINAL
from polycompress.training.snapshots import Snapshot, load_snapshot

logger = logging.getLogger(__name__)

Evaluate = Callable[[DistillationTask, SplitAdamW], dict[str, float]]
"""Measures on held-out text."""


def train_student(
    run: TextRun,
    student: SourceModel,
    loaded: LoadedModel,
    distillation: Distillation,
    inputs: Inputs,
    training: Examples | Items,
    out: Path,
    devices: Devices,
    snapshot: Snapshot | None,
    *,
    facts: Mapping[str, Any],
    evaluate: Evaluate | None = None,
    accompany: Callable[[Running], Mapping[str, Companion]] | None = None,
    progress: Callable[[Record], None] | None,
) -> dict[str, Any]:
    """Train a student that is ready to learn, and write it; the manifest.

    Args:
        run: What is asked for.
        student: As it begins.
        loaded: The same with its weights, in ``distillation``.
        distillation: What is learnt.
        inputs: What batches become.
        training: The texts.
        out: The run's directory.
        devices: The processes.
        snapshot: To go on from.
        facts: For the manifest.
        evaluate: Measures on held-out text.
        accompany: Names who goes along with the run.
        progress: Told each record of the log.

    Raises:
        PolycompressError: See ``run_text``.
    """
    config, kind = run.config, loaded.kind if run.answers else None
    if config.freeze_embeddings:
        frozen = set(name_groups(loaded.model).groups[EMBEDDINGS])
        for name, parameter in loaded.model.named_parameters():
            parameter.requires_grad_(name not in frozen)
    task, optimiser = _task(distillation, config, devices, inputs)
    loader = _loader(run, student, training, devices, kind)
    running = Running(task=task, optimiser=optimiser, loader=loader, devices=devices)
    parts = Parts(
        task=task,
        model=distillation,
        optimiser=optimiser,
        data=loader,
        devices=devices,
        metrics=make_sinks(out, snapshot.step if snapshot else 0, progress, devices),
        out=out,
        identity=run.identity,
        evaluate=functools.partial(evaluate, task, optimiser) if evaluate is not None else None,
        watcher=task,
        companions=accompany(running) if accompany is not None else {},
        locate=training.locate,
    )
    try:
        state = TrainState()
        if snapshot is not None:
            state = resume(parts, load_snapshot(snapshot))
            logger.info("%s: going on after step %d", out, state.step)
        task.module.train()
        state = train(parts, config.training, state)
    finally:
        parts.metrics.close()
    figures = _figures(state, parts, distillation)
    if kind is not None:
        figures |= {"kind": kind, "loader": LOADERS[kind], **(lost_mass(out) if devices.is_main else {})}
    return _write(run, student, loaded, optimiser, out, devices, facts, figures)


def check_lengths(loaded: LoadedModel, config: TextConfig) -> None:
    """Refuse texts that are longer than the model takes; raises ``InputError``."""
    limit = longest_text(loaded.model)
    if limit is not None and config.max_length > limit:
        raise InputError(
            f"max_length is {config.max_length}, but the model has positions for {limit} tokens: give at most {limit}."
        )


def set_dropout(model: Any, share: float) -> None:
    """Let a share of everything be dropped in training, wherever a model drops something."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share
        for name in ("dropout_prob", "attention_dropout"):  # what fused attention is given
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, share)


def _task(
    distillation: Distillation, config: TextConfig, devices: Devices, inputs: Inputs
) -> tuple[DistillationTask, SplitAdamW]:
    student = distillation.student
    # Every row of a table that is the head's as well gets a gradient through the head.
    is_sparse = not config.freeze_embeddings and not output_is_tied(student) and make_table_sparse(student)
    module = devices.wrap(
        distillation, find_tables(distillation), is_partly_used=not distillation.reaches_head
    )
    settings = config.training.optimiser
    optimiser = SplitAdamW(
        param_groups(distillation, settings.weight_decay),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        second_moment=settings.second_moment,
    )
    task = DistillationTask(distillation, module, inputs, device=devices.device, is_sparse=is_sparse)
    return task, optimiser


def _loader(
    run: TextRun, student: SourceModel, examples: Examples | Items, devices: Devices, kind: Kind | None
) -> BatchLoader:
    config, settings = run.config, run.config.training
    budget = settings.steps * settings.accumulation * config.batching.token_budget * devices.world_size
    return BatchLoader(
        examples,
        LanguageMixer(examples, (Stage(config.mixing),), seed=settings.seed, budget=budget),
        config.batching,
        pad_id=student.pad_id,
        objective=masking_of(run, student, settings.seed, kind),
        seed=settings.seed,
        rank=devices.rank,
        world_size=devices.world_size,
    )


def masking_of(run: TextRun, student: SourceModel, seed: int, kind: Kind | None) -> Objective | None:
    """What becomes of a batch's tokens, and their labels.

    Args:
        run: Whether text is masked, and how.
        student: Whose tokens.
        seed: Of the masks.
        kind: Of language models whose answers are compared; None: none are.

    Raises:
        InputError: The tokenizer names no mask.
    """
    if kind == "causal":
        return causal_lm
    if not run.config.masked:
        return None
    mask = student.tokenizer_config.get("mask_token")
    if not isinstance(mask, str):
        raise InputError(
            f"{student.path}: its tokenizer names no mask_token. Distil on text as it is, without masking."
        )
    return masked_lm(Tokenizer.from_str(student.tokenizer_json), mask, run.config.masking, seed)


def _figures(state: TrainState, parts: Parts, distillation: Distillation) -> dict[str, Any]:
    return {
        "steps": state.step,
        "tokens": state.tokens,
        "language_tokens": dict(parts.data.tokens),
        "seconds": state.seconds,
        "losses": dict(zip(distillation.names, distillation.weights, strict=True)),
        "device": str(parts.devices.device),
        "processes": parts.devices.world_size,
        **state.held_out,
        **{name: value for each in parts.companions.values() for name, value in each.figures().items()},
    }


def _write(
    run: TextRun,
    student: SourceModel,
    loaded: LoadedModel,
    optimiser: SplitAdamW,
    out: Path,
    devices: Devices,
    facts: Mapping[str, Any],
    figures: Mapping[str, Any],
) -> dict[str, Any]:
    """Write ``final/``; all processes have to call it."""
    state = optimiser.exported_state(loaded.model)
    manifest = {
        **run.record,
        **facts,
        "tool": {"name": "polycompress", "version": polycompress.__version__},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": dict(run.identity),
        "seed": run.config.training.seed,
        "architectures": [type(loaded.model).__name__],
        "distillation": {**figures, "precision": run.config.training.precision},
        "sizes": {
            **part_of(facts, "sizes"),
            "after": {
                **part_of(part_of(facts, "sizes"), "after"),
                "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
                "vocab": int(loaded.model.get_input_embeddings().num_embeddings),
            },
        },
        "notes": writing_notes(student, loaded.unused, loaded.dtype, "a student"),
    }
    if devices.is_main:
        weights = as_saved(state, loaded.model, loaded.dtype)
        write_trained(out / FINAL, loaded.model, weights, loaded.dtype, student, manifest, run.render)
    devices.wait()
    return manifest
