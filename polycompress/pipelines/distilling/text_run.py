"""Distil on text: load student and teacher, make what is learnt of them, and train."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from polycompress.corpora import CorpusSpec
from polycompress.errors import InputError
from polycompress.modeldir.directory import file_sha256
from polycompress.modeldir.figures import part_of
from polycompress.pipelines.distilling.addition import Addition
from polycompress.pipelines.distilling.held_out import HeldOutText, make_evaluation
from polycompress.pipelines.distilling.losses import make_losses
from polycompress.pipelines.distilling.own_texts import (
    coverage_of,
    find_aliens,
    make_apart,
    read_own_texts,
)
from polycompress.pipelines.distilling.pair import Pair
from polycompress.pipelines.distilling.task_parts import token_rows
from polycompress.pipelines.distilling.text_answers import (
    head_classes,
    load_for_text,
    map_vocabularies,
    vocabularies,
)
from polycompress.pipelines.distilling.text_data import keep_text, read_examples
from polycompress.pipelines.distilling.text_request import TextRun
from polycompress.pipelines.distilling.text_student import (
    check_lengths,
    masking_of,
    set_dropout,
    train_student,
)
from polycompress.pipelines.distilling.text_teachers import further_teacher, sample_text
from polycompress.pipelines.tuning.source_model import SourceModel
from polycompress.training.devices import Devices
from polycompress.training.distilling import Distillation, Weighted
from polycompress.training.distilling_inputs import AnswerInputs, Inputs, TextInputs
from polycompress.training.examples import Examples
from polycompress.training.metrics import Record
from polycompress.training.model import load_encoder
from polycompress.training.snapshots import Snapshot
from polycompress.training.teachers import Further, round_linear_

Tell = Callable[[str, int, int | None], None]


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
    addition: Addition | None = None,
    progress: Callable[[Record], None] | None,
    tell: Tell | None,
) -> dict[str, Any]:
    """Train, from the beginning or from a snapshot; the manifest of the student.

    Args:
        run: What is asked for.
        student: As it begins.
        teacher: Its model directory. Where it cuts texts otherwise than the student it is shown its own tokens, and
            both are compared word by word.
        out: The run's directory.
        devices: The processes.
        snapshot: To go on from.
        facts: For the manifest.
        adapted: By language, the model directory that teaches on its text instead.
        others: Second and later teachers of all text, likewise.
        basis: (d_T, d_S) that a narrower student's states are in.
        addition: What is learnt and done besides.
        progress: Told each record of the log.
        tell: Told what is being prepared.

    Raises:
        InputError: The models cannot be loaded, or cannot show what the objectives ask for.
        PolycompressError: The run ended before its time; see ``polycompress.training.loop.train``.
    """
    config = run.config
    aliens = find_aliens(run, student, (teacher, *others), out)
    if tell is not None:
        tell("loading teacher and student", 0, None)
    taught = load_for_text(teacher, answers=run.answers and aliens[0] is None)
    loaded = load_for_text(student.path, answers=run.answers)
    adapting = {code: load_encoder(path) for code, path in (adapted or {}).items()}
    for path in (adapted or {}).values():
        _check_tokenizer(teacher, path)
    shared = vocabularies(student, teacher, run.corpora) if aliens[0] is None else None
    further = [
        further_teacher(run, student, loaded, path, own_tokens=alien is not None)
        for path, alien in zip(others, aliens[1:], strict=True)
    ]
    check_lengths(loaded, config)
    set_dropout(loaded.model, config.dropout)
    apart = make_apart(aliens, [taught.model, *(each.model for each in further)], config.max_length)
    kind = loaded.kind if run.answers else None
    plain: Inputs = (
        TextInputs(list(adapting)) if kind is None else AnswerInputs(kind, answers_alone=run.answers_alone)
    )

    def read(corpora: tuple[CorpusSpec, ...], name: str) -> tuple[Examples, Inputs, dict[str, Any]]:
        examples = read_examples(run, student, corpora, name, loaded, out, devices, tell)
        if apart is None:
            return examples, plain, {}
        own = read_own_texts(run, student, apart, corpora, examples, name, out, devices, tell)
        return examples, apart.inputs(plain, own), {"words": coverage_of(own, apart)}

    training, shown, told = read(run.corpora, "training")
    distillation = _distillation(
        run,
        loaded.model,
        [taught.model, *(each.model for each in adapting.values())],
        devices,
        basis,
        shared,
        further,
        () if addition is None else addition.losses(loaded.model),
        functools.partial(
            sample_text,
            run,
            student,
            training,
            shown,
            masking_of(run, student, config.training.seed, kind),
            devices,
        ),
    )
    held_out, held_shown, _ = read(run.held_out, "held-out") if run.held_out else (None, plain, {})
    if run.keep is not None:
        shown = held_shown = keep_text(
            run, run.keep, student, teacher, distillation, shown, (training, held_out), devices, tell
        )
    if addition is not None:
        shown, held_shown = addition.inputs(shown), addition.inputs(held_shown)
        facts = {**facts, "sizes": {**part_of(facts, "sizes"), "after": addition.sizes(loaded.model)}}
    measured = (
        HeldOutText(run=run, student=student, examples=held_out, kind=kind, inputs=held_shown)
        if held_out is not None
        else None
    )
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
        facts={**facts, **told},
        evaluate=make_evaluation(measured, devices) if measured is not None else None,
        accompany=functools.partial(addition.companions, held_out=measured) if addition is not None else None,
        progress=progress,
    )


def _distillation(
    run: TextRun,
    student: Any,
    teachers: Sequence[Any],
    devices: Devices,
    basis: torch.Tensor | None,
    shared: tuple[dict[str, int], dict[str, int]] | None,
    others: Sequence[Further],
    added: Sequence[Weighted],
    samples: Callable[[Sequence[Further], Sequence[int]], list[torch.Tensor]],
) -> Distillation:
    for teacher in (*teachers, *(each.model for each in others)):
        if run.config.training.precision == "bf16":
            round_linear_(teacher)
        teacher.to(devices.device)
    rows = (
        token_rows(*shared, int(student.get_input_embeddings().num_embeddings))
        if shared is not None
        else None
    )
    every = [Further(model=teachers[0], rows=rows), *others]
    pair = Pair(
        student=student.config,
        teacher=teachers[0].config,
        layers=run.layers,
        steps=run.config.training.steps,
        basis=basis,
        vocabularies=map_vocabularies(*shared, (head_classes(student), head_classes(teachers[0])))
        if run.answers and shared is not None
        else None,
        others=tuple(each.model.config for each in others),
        samples=functools.partial(samples, every),
        vector_width=int(teachers[0].config.hidden_size) if run.keep is not None else None,
    )
    return Distillation(
        student,
        teachers[0],
        (*make_losses(run.losses, pair), *added),
        rows,
        adapted=teachers[1:],
        at_places=run.answers,
        others=others,
    )


def _check_tokenizer(teacher: Path, adapted: Path) -> None:
    """Both are shown the same tokens."""
    if file_sha256(adapted, "tokenizer.json") != file_sha256(teacher, "tokenizer.json"):
        raise InputError(
            f"{adapted}: its tokenizer is not that of the teacher, {teacher}. Trim both alike, or adapt this teacher."
        )
