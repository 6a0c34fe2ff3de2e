"""Distil on text: load student and teacher, make the parts, train, and write the student."""

from __future__ import annotations

import functools
import itertools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import Tokenizer

import polycompress
from polycompress.corpora import CorpusSpec, Reading
from polycompress.errors import InputError
from polycompress.modeldir.directory import file_sha256
from polycompress.modeldir.distilling_card import render_distilling_card
from polycompress.modeldir.figures import part_of
from polycompress.pipelines.distilling.config import TextConfig
from polycompress.pipelines.distilling.loss_specs import LossSpec
from polycompress.pipelines.distilling.losses import OBJECTIVES, make_losses
from polycompress.pipelines.distilling.pair import Pair
from polycompress.pipelines.distilling.shelving import shelve
from polycompress.pipelines.distilling.task_parts import token_rows
from polycompress.pipelines.distilling.text_answers import (
    LOADERS,
    head_classes,
    is_tied,
    load_for_text,
    lost_mass,
    map_vocabularies,
    vocabularies,
)
from polycompress.pipelines.distilling.text_teachers import further_teacher, sample_text
from polycompress.pipelines.tuning.sinks import make_sinks
from polycompress.pipelines.tuning.source_model import SourceModel
from polycompress.pipelines.tuning.trained_writing import as_saved, write_trained, writing_notes
from polycompress.training.answer_inputs import AnswerInputs
from polycompress.training.batches import Batch
from polycompress.training.devices import Devices
from polycompress.training.distilling import (
    Distillation,
    DistillationTask,
    Further,
    Inputs,
    TextInputs,
    round_linear_,
)
from polycompress.training.examples import Examples
from polycompress.training.items import Items
from polycompress.training.keeping import KeptInputs, in_teachers_ids
from polycompress.training.loader import BatchLoader
from polycompress.training.loop import Parts, TrainState, resume, train
from polycompress.training.masking import Objective, causal_lm, masked_lm
from polycompress.training.metrics import Record
from polycompress.training.mixing import LanguageMixer, Stage
from polycompress.training.model import Kind, LoadedModel, load_encoder, longest_text, make_table_sparse
from polycompress.training.optimisers import SplitAdamW, param_groups
from polycompress.training.parameter_groups import EMBEDDINGS, name_groups
from polycompress.training.rows import find_tables
from polycompress.training.run_files import FINAL, SNAPSHOTS
from polycompress.training.runs import open_run
from polycompress.training.snapshots import Snapshot, find_snapshot, load_snapshot
from polycompress.training.step import no_gradient
from polycompress.training.tokenising import Cutting, prepare_examples

logger = logging.getLogger(__name__)

Tell = Callable[[str, int, int | None], None]
HELD_OUT_BATCHES: Final = 32
"""At most, of one evaluation."""
_HELD_OUT_SEED: Final = 1
Evaluate = Callable[[DistillationTask, SplitAdamW], dict[str, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class TextRun:
    """What a distillation on text is asked for."""

    layers: tuple[int, ...]
    """Of the teacher, for each layer of the student."""
    losses: tuple[LossSpec, ...]
    corpora: tuple[CorpusSpec, ...]
    held_out: tuple[CorpusSpec, ...]
    reading: Reading
    config: TextConfig
    record: Mapping[str, Any]
    """For the run's configuration and the manifest: command, languages."""
    identity: Mapping[str, Any]
    keep: Path | None = None
    """Directory of stores for what the teacher says of unmasked text; None: it is asked each time."""

    @property
    def answers(self) -> bool:
        """Whether answers of language models' heads are compared."""
        return any(OBJECTIVES[each.name].needs_logits for each in self.losses)

    @property
    def answers_alone(self) -> bool:
        """Whether nothing else is."""
        return all(OBJECTIVES[each.name].needs_logits for each in self.losses)


def begin_run(out: Path, devices: Devices, run: TextRun, *, resume_run: bool) -> Snapshot | None:
    """Begin a run, or find the snapshot that all processes go on from."""
    snapshot = open_run(out, run.record, run.identity, resume=resume_run) if devices.is_main else None
    (step,) = devices.total(
        [float(snapshot.step if snapshot is not None else -1) if devices.is_main else 0.0]
    )
    if not devices.is_main and step >= 0:
        snapshot = find_snapshot(out / SNAPSHOTS, int(step))
    return snapshot


def run_text(
    run: TextRun,
    student: SourceModel,
    teacher: Path,
    out: Path,
    devices: Devices,
    snapshot: Snapshot | None,
    *,
    facts: Mapping[str, Any],
    adapted: Mapping[str, Path] | None = None,
    others: Sequence[Path] = (),
    basis: torch.Tensor | None = None,
    progress: Callable[[Record], None] | None,
    tell: Tell | None,
) -> dict[str, Any]:
    """Train, from the beginning or from a snapshot; the manifest of the student.

    Args:
        run: What is asked for.
        student: As it begins.
        teacher: Its model directory; its tokenizer, or one that the student's was trimmed out of.
        out: The run's directory.
        devices: The processes.
        snapshot: To go on from.
        facts: For the manifest.
        adapted: By language, the model directory that teaches on its text instead.
        others: Second and later teachers of all text, with tokenizers as the teacher's may be.
        basis: (d_T, d_S) that a narrower student's states are in.
        progress: Told each record of the log.
        tell: Told what is being prepared.

    Raises:
        InputError: The models cannot be loaded, or cannot show what the objectives ask for.
        PolycompressError: The run ended before its time; see ``polycompress.training.loop.train``.
    """
    config = run.config
    if tell is not None:
        tell("loading teacher and student", 0, None)
    taught, loaded = (load_for_text(path, answers=run.answers) for path in (teacher, student.path))
    apart = {code: load_encoder(path) for code, path in (adapted or {}).items()}
    for path in (adapted or {}).values():
        _check_tokenizer(student, path)
    shared = vocabularies(student, teacher, run.corpora)
    further = [further_teacher(run, student, loaded, path) for path in others]
    check_lengths(loaded, config)
    set_dropout(loaded.model, config.dropout)
    training = _examples(run, student, run.corpora, "training", loaded, out, devices, tell)
    kind = loaded.kind if run.answers else None
    shown: Inputs = (
        TextInputs(list(apart)) if kind is None else AnswerInputs(kind, answers_alone=run.answers_alone)
    )
    distillation = _distillation(
        run,
        loaded.model,
        [taught.model, *(each.model for each in apart.values())],
        devices,
        basis,
        shared,
        further,
        functools.partial(
            sample_text,
            run,
            student,
            training,
            shown,
            _masking(run, student, config.training.seed, kind),
            devices,
        ),
    )
    held_out = (
        _examples(run, student, run.held_out, "held-out", loaded, out, devices, tell)
        if run.held_out
        else None
    )
    if run.keep is not None:
        shown = _keep(
            run, run.keep, student, teacher, distillation, shown, (training, held_out), devices, tell
        )
    evaluate = _evaluation(run, student, held_out, devices, kind) if held_out is not None else None
    return train_student(
        run,
        student,
        loaded,
        distillation,
        shown,
        training,
        out,
        devices,
        snapshot,
        facts=facts,
        evaluate=evaluate,
        progress=progress,
    )


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
    parts = Parts(
        task=task,
        model=distillation,
        optimiser=optimiser,
        data=_loader(run, student, training, devices, kind),
        devices=devices,
        metrics=make_sinks(out, snapshot.step if snapshot else 0, progress, devices),
        out=out,
        identity=run.identity,
        evaluate=functools.partial(evaluate, task, optimiser) if evaluate is not None else None,
        watcher=task,
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


def _distillation(
    run: TextRun,
    student: Any,
    teachers: Sequence[Any],
    devices: Devices,
    basis: torch.Tensor | None,
    shared: tuple[dict[str, int], dict[str, int]],
    others: Sequence[Further],
    samples: Callable[[Sequence[Further], Sequence[int]], list[torch.Tensor]],
) -> Distillation:
    for teacher in (*teachers, *(each.model for each in others)):
        if run.config.training.precision == "bf16":
            round_linear_(teacher)
        teacher.to(devices.device)
    rows = token_rows(*shared, int(student.get_input_embeddings().num_embeddings))
    every = [Further(model=teachers[0], rows=rows), *others]
    pair = Pair(
        student=student.config,
        teacher=teachers[0].config,
        layers=run.layers,
        steps=run.config.training.steps,
        basis=basis,
        vocabularies=map_vocabularies(*shared, (head_classes(student), head_classes(teachers[0])))
        if run.answers
        else None,
        others=tuple(each.model.config for each in others),
        samples=functools.partial(samples, every),
        vector_width=int(teachers[0].config.hidden_size) if run.keep is not None else None,
    )
    return Distillation(
        student,
        teachers[0],
        make_losses(run.losses, pair),
        rows,
        adapted=teachers[1:],
        at_places=run.answers,
        others=others,
    )


def _keep(
    run: TextRun,
    root: Path,
    student: SourceModel,
    teacher: Path,
    distillation: Distillation,
    inputs: Inputs,
    texts: Sequence[Examples | None],
    devices: Devices,
    tell: Tell | None,
) -> KeptInputs:
    """Keep what the teacher says of all texts; batches with it."""
    rows = None if distillation.rows is None else distillation.rows.cpu().numpy()
    every = itertools.chain.from_iterable(each for each in texts if each is not None)
    shelf = shelve(
        distillation,
        root,
        teacher,
        (in_teachers_ids(example.ids, None, rows) for example in every),
        answers=None,
        token_budget=run.config.batching.token_budget,
        pad_id=student.pad_id if rows is None else int(rows[student.pad_id]),
        precision=run.config.training.precision,
        devices=devices,
        tell=tell,
    )
    return KeptInputs(inputs, shelf, distillation.rows)


def _task(
    distillation: Distillation, config: TextConfig, devices: Devices, inputs: Inputs
) -> tuple[DistillationTask, SplitAdamW]:
    student = distillation.student
    # Every row of a table that is the head's as well gets a gradient through the head.
    is_sparse = not config.freeze_embeddings and not is_tied(student) and make_table_sparse(student)
    module = devices.wrap(distillation, find_tables(distillation))
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


def _check_tokenizer(student: SourceModel, teacher: Path) -> None:
    """Rows of both tables stand for the same tokens, in the same order."""
    theirs = file_sha256(teacher, "tokenizer.json")
    if theirs not in student.hashes.values():
        raise InputError(
            f"{teacher}: its tokenizer is not that of the student, {student.path}. Trim both alike, or make the "
            "student out of this teacher."
        )


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


def _examples(
    run: TextRun,
    student: SourceModel,
    corpora: tuple[CorpusSpec, ...],
    name: str,
    loaded: LoadedModel,
    out: Path,
    devices: Devices,
    tell: Tell | None,
) -> Examples:
    """Tokenised text; the main process makes it, the others find it."""
    report = (lambda code, amount: tell(f"tokenising {code}", amount, None)) if tell is not None else None
    if not devices.is_main:
        devices.wait()
    examples = prepare_examples(
        student.tokenizer_json,
        corpora,
        out / "data" / name,
        Cutting(max_length=run.config.max_length),
        reading=run.reading,
        table_rows=int(loaded.model.get_input_embeddings().num_embeddings),
        progress=report,
    )
    if devices.is_main:
        devices.wait()
    return examples


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
        objective=_masking(run, student, settings.seed, kind),
        seed=settings.seed,
        rank=devices.rank,
        world_size=devices.world_size,
    )


def _masking(run: TextRun, student: SourceModel, seed: int, kind: Kind | None) -> Objective | None:
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


def _evaluation(
    run: TextRun,
    student: SourceModel,
    examples: Examples,
    devices: Devices,
    kind: Kind | None,
) -> Evaluate:
    """Measures the mean loss over held-out text; masks are the same every time."""

    def evaluate(task: DistillationTask, optimiser: SplitAdamW) -> dict[str, float]:
        loader = BatchLoader(
            examples,
            LanguageMixer(examples, max_epochs=1),
            run.config.batching,
            pad_id=student.pad_id,
            objective=_masking(run, student, _HELD_OUT_SEED, kind),
        )
        batches: Sequence[Batch] = list(itertools.islice(loader, HELD_OUT_BATCHES))
        losses = [no_gradient(task, optimiser, devices, batch) for batch in batches]
        weights = [task.weight(batch) for batch in batches]
        total = math.fsum(loss * weight for loss, weight in zip(losses, weights, strict=True))
        return {"held_out_loss": total / max(1, sum(weights))}

    return evaluate


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
                "parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
                "vocab": int(loaded.model.get_input_embeddings().num_embeddings),
            },
        },
        "notes": writing_notes(student, loaded.unused, loaded.dtype, "a student"),
    }
    if devices.is_main:
        weights = as_saved(state, loaded.model, loaded.dtype)
        write_trained(
            out / FINAL, loaded.model, weights, loaded.dtype, student, manifest, render_distilling_card
        )
    devices.wait()
    return manifest
