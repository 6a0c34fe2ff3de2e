"""Objectives that need more of the models than their configurations, made out of options."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from polycompress.distill.exit_heads import check_exits, exit_head
from polycompress.distill.objective import Objective
from polycompress.distill.objectives.divergences import divergence_loss
from polycompress.distill.objectives.multi_exit import ExitLoss, MultiExit, label_loss
from polycompress.distill.objectives.multi_teacher import MixedClasses, MixedHidden
from polycompress.distill.objectives.teacher_space import align_teachers
from polycompress.distill.objectives.unequal import UnequalLogits
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.errors import InputError
from polycompress.pipelines.distilling.loss_options import (
    ExitOptions,
    MixedClassesOptions,
    MixedHiddenOptions,
    UnequalOptions,
)
from polycompress.pipelines.distilling.pair import Pair


def unequal(pair: Pair, options: UnequalOptions) -> Objective:
    """Answers over vocabularies that differ; see ``objectives.unequal``."""
    if pair.vocabularies is None:
        raise InputError("unequal: it is not known which pieces the models share; learn it on text.")
    return UnequalLogits(pair.vocabularies, temperature=options.temperature)


def exits(pair: Pair, options: ExitOptions) -> Objective:
    """Several exits of the student; see ``objectives.multi_exit``."""
    layers = int(pair.student.num_hidden_layers)
    faults = check_exits(str(pair.student.model_type))
    if options.exits[-1] != layers:
        faults.append(
            f"multi-exit: exits end with {options.exits[-1]}, but the student has {layers} layers: let the last "
            "exit be the model itself"
        )
    if faults:
        raise InputError(f"{'; '.join(faults)}.")
    answers = options.learns == "answers"
    return MultiExit(
        options.exits,
        layers,
        exit_head(pair.model) if pair.model is not None else lambda states: states,
        _of_answers(options.temperature) if answers else label_loss,
        teacher_needs=Needs(logits=answers),
        divergence_weight=options.divergence_weight,
        cosine_weight=options.cosine_weight,
        temperature=options.temperature,
    )


def _of_answers(temperature: float) -> ExitLoss:
    """The divergence of an exit's logits from the teacher's."""

    def loss(logits: Tensor, teacher: Outputs, given: Given) -> Tensor:
        assert teacher.logits is not None
        return divergence_loss(logits, teacher.logits, given.valid, temperature=temperature)

    return loss


def mixed_hidden(pair: Pair, options: MixedHiddenOptions) -> Objective:
    """The average of several teachers' states; see ``objectives.multi_teacher``."""
    layers = options.layers or tuple(int(each.num_hidden_layers) for each in pair.teachers)
    _check_counts("mixed-hidden", pair, weights=options.weights, layers=layers)
    widths = [int(each.hidden_size) for each in pair.teachers]
    width = options.width or min(widths)
    if width > min(widths):
        raise InputError(
            f"mixed-hidden: width is {width}, but a teacher has {min(widths)} units: give at most that."
        )
    if pair.samples is None:
        projections = [torch.eye(each, width) for each in widths]
    else:
        projections = align_teachers(pair.samples(layers), width)
        if width == widths[0]:  # the first teacher's own space, which a student made out of it is in
            projections = [each @ projections[0].transpose(0, 1) for each in projections]
    own = options.student_layer
    return MixedHidden(
        int(pair.student.num_hidden_layers) if own is None else own,
        layers,
        projections,
        student_width=int(pair.student.hidden_size),
        weights=options.weights,
    )


def mixed_classes(pair: Pair, options: MixedClassesOptions) -> Objective:
    """The average of several teachers' answers; see ``objectives.multi_teacher``."""
    _check_counts("mixed-classes", pair, weights=options.weights)
    return MixedClasses(len(pair.teachers), weights=options.weights, temperature=options.temperature)


def _check_counts(name: str, pair: Pair, **given: Sequence[float] | None) -> None:
    """Refuse lists that are not as long as the list of teachers; all are named."""
    teachers = len(pair.teachers)
    faults = [
        f"{field} has {len(values)} entries for {teachers} teachers: give one for each"
        for field, values in given.items()
        if values is not None and len(values) != teachers
    ]
    if faults:
        raise InputError(f"{name}: {'; '.join(faults)}.")
