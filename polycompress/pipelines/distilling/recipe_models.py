"""The models of a recipe against its stages: found on disk, their configurations read, no weight loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from polycompress.distill.capture import check_needs
from polycompress.distill.layer_map import LayerMap, every_nth, make_layer_map
from polycompress.distill.layers import count_layers, plan_layers
from polycompress.distill.objectives.unequal import VocabularyMap
from polycompress.errors import InputError
from polycompress.modeldir.checkpoint import open_checkpoint
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.distilling.config import TextConfig
from polycompress.pipelines.distilling.losses import Pair, make_losses
from polycompress.pipelines.distilling.recipe import Findings, Recipe
from polycompress.pipelines.distilling.recipe_heads import check_language_heads, compared
from polycompress.pipelines.distilling.recipe_stages import TEACHER, Stage
from polycompress.pipelines.distilling.recipe_yaml import Located
from polycompress.pipelines.distilling.task_parts import token_rows
from polycompress.pipelines.distilling.teaching import vocabulary_of
from polycompress.pipelines.mlm import MlmConfig
from polycompress.pipelines.tuning.source_model import SourceModel, find_source_model
from polycompress.training.model import (
    language_model_kind,
    longest_text,
    named_head,
    quiet_transformers,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Models:
    """Teacher and student as they are before the first stage."""

    teacher: SourceModel
    student: SourceModel | None
    """None: it is made."""
    layer_map: LayerMap
    """The teacher's layer for each of the student's."""


def find_models(findings: Findings, out: Path) -> Models | None:
    """Find both, and add a fault for whatever they lack of what the stages ask for.

    Args:
        findings: The recipe.
        out: What will be written.

    Returns:
        None where one is missing or no student can be made; there is a fault then.
    """
    recipe, table = findings.recipe, findings.table
    teacher = table.tried("teacher", lambda: find_source_model(recipe.teacher, out))
    student = None
    if recipe.student.directory is not None:
        directory = recipe.student.directory
        student = table.tried("student.directory", lambda: find_source_model(directory, out))
        if student is None:
            return None
    if teacher is None:
        return None
    layer_map = table.tried("student.layers", lambda: layers_between(recipe, teacher, student))
    if layer_map is None:
        return None
    if student is not None:
        _check_tokenizers(recipe, teacher, student, table)
    models = Models(teacher=teacher, student=student, layer_map=layer_map)
    _check_heads(recipe, teacher)
    check_language_heads(recipe, teacher, student)
    shown = table.tried("student", lambda: _outlines(models))
    if shown is not None:
        for stage in recipe.stages:
            _check_stage(stage, models, *shown)
    return models


def layers_between(recipe: Recipe, teacher: SourceModel, student: SourceModel | None) -> LayerMap:
    """The teacher's layers that the student's stand for: as asked for, as it was made, or the last of each block.

    Raises:
        InputError: They do not fit.
    """
    asked, total = recipe.student, count_layers(teacher.config)
    if student is None:
        return make_layer_map(total, asked.layers, asked.strategy, asked.layer_map)
    own = count_layers(student.config)
    manifest: Mapping[str, Any] = read_manifest(student.path) or {}
    known = asked.layer_map or manifest.get("layers") or (manifest.get("student") or {}).get("layers")
    if asked.layer_map and len(asked.layer_map) != own:
        raise InputError(
            f"layer_map names {len(asked.layer_map)} layers for a student of {own}: let both agree."
        )
    if (
        isinstance(known, list | tuple)
        and len(known) == own
        and all(isinstance(layer, int) for layer in known)
    ):
        return LayerMap(tuple(known), total)
    return every_nth(total, own)


def answers_task(teacher: SourceModel, stage: Stage) -> bool:
    """Whether a model's configuration says that it has the head of a stage's task."""
    task = stage.task
    if task is None:
        return False
    endings = {"token-classification": "ForTokenClassification", "question-answering": "ForQuestionAnswering"}
    ending = endings.get(task.kind, "ForSequenceClassification")
    names = teacher.config.get("architectures")
    if not any(str(name).endswith(ending) for name in (names if isinstance(names, list) else [])):
        return False
    labels = teacher.config.get("id2label")
    if task.kind == "question-answering" or not isinstance(labels, Mapping):
        return task.kind == "question-answering"
    try:
        return tuple(str(labels[key]) for key in sorted(labels, key=int)) == task.labels
    except (TypeError, ValueError):
        return False


def _check_heads(recipe: Recipe, teacher: SourceModel) -> None:
    for stage in recipe.stages:
        if stage.task is None or stage.teacher != TEACHER or not stage.needs_logits:
            continue
        if not answers_task(teacher, stage):
            tuned = [
                each.name
                for each in recipe.stages[: stage.number - 1]
                if each.kind == "tune" and each.task == stage.task
            ]
            help_ = f"write teacher: {tuned[0]}" if tuned else "tune one in an earlier stage (kind: tune)"
            stage.table.fault(
                f"teacher: {recipe.teacher} has no head for task {stage.task.id}, so it cannot answer: {help_}"
            )


def _check_tokenizers(recipe: Recipe, teacher: SourceModel, student: SourceModel, table: Located) -> None:
    if teacher.tokenizer_json == student.tokenizer_json:
        return
    taught = [stage for stage in recipe.stages if stage.kind == "distil" and stage.teacher is not None]
    own, other = (vocabulary_of(each) for each in (student, teacher))
    on_text = [stage for stage in taught if stage.data == "text"]
    try:
        rows = token_rows(own, other, max(own.values()) + 1)
    except InputError as error:
        if len(on_text) < len(taught):
            table.fault(f"student.directory: {error}")
        if on_text:
            names = " and ".join(stage.name for stage in on_text)
            answers = any(stage.answers_text for stage in on_text)
            more = (
                ". A text cut into pieces that the teacher lacks, such as OFA adds, has no answers of it to compare: "
                "distil before they are added, or let them be learnt in a stage of the kind mlm"
            )
            table.fault(
                f"student.directory: its tokenizer is not that of the teacher, but {names} shows both the same tokens: "
                f"{str(error).removesuffix('.')}{more if answers else ''}"
            )
        return
    for stage in on_text if rows is not None else []:
        names = ", ".join(name for name in compared(stage).split(", ") if name not in ("", "unequal"))
        if names:
            stage.table.fault(
                f"losses: {names} compares answers over one vocabulary, but the student's is not the teacher's: take "
                "unequal"
            )


def _outlines(models: Models) -> tuple[Any, Any]:
    """Both models without weights, and so without memory."""
    import transformers  # takes a second, which faults of the file alone need not

    teacher = dict(models.teacher.config)
    if models.student is not None:
        student = dict(models.student.config)
    else:
        tensors = open_checkpoint(models.teacher.path).tensors
        student = dict(plan_layers(teacher, tensors, models.layer_map).config)
    try:
        with quiet_transformers(), torch.device("meta"):
            made = [
                transformers.AutoModel.from_config(
                    transformers.AutoConfig.for_model(each.pop("model_type"), **each)
                )
                for each in (student, teacher)
            ]
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise InputError(f"transformers cannot build it: {error}") from error
    return made[0], made[1]


def _check_stage(stage: Stage, models: Models, student: Any, teacher: Any) -> None:
    """What a stage asks of models of these kinds."""
    settings, fault = stage.settings, stage.table.fault
    limit = longest_text(student)
    if isinstance(settings, TextConfig | MlmConfig) and limit is not None and settings.max_length > limit:
        fault(f"max_length is {settings.max_length}, but the model has positions for {limit} tokens")
    masks = stage.kind == "mlm" or (isinstance(settings, TextConfig) and settings.masked)
    source = models.student or models.teacher
    is_causal = stage.answers_text and named_head(source.config) == "causal"  # a fault of its own
    if (
        stage.data == "text"
        and masks
        and not is_causal
        and not isinstance(source.tokenizer_config.get("mask_token"), str)
    ):
        fault(f"name: text is masked, but the tokenizer of {source.path} names no mask_token")
    if stage.kind == "mlm":
        kind = stage.table.tried("kind", lambda: language_model_kind(source.config, source.path))
        if kind == "causal":
            fault(f"kind is 'mlm', but {source.path} is a causal language model, which has no masked-LM head")
    if stage.losses and not stage.is_plain:
        nothing = np.zeros(1, np.int64)
        pair = Pair(
            student=student.config,
            teacher=teacher.config,
            layers=models.layer_map.layers,
            steps=1,
            vocabularies=VocabularyMap(nothing, nothing, 1, 1),
        )
        try:
            made = make_losses(stage.losses, pair)
        except InputError as error:
            fault(f"losses: {error}")
            return
        needs = [(student, "student", [each.objective.student_needs for each in made])]
        needs.append((teacher, "teacher", [each.objective.teacher_needs for each in made]))
        for model, who, wanted in needs:
            for trouble in dict.fromkeys(each for need in wanted for each in check_needs(model, need, who)):
                fault(f"losses: {trouble}")
        for spec in stage.losses:
            if spec.name == "minilmv2":
                _check_relations(int(spec.options.get("relation_heads", 12)), student, teacher, fault)


def _check_relations(heads: int, student: Any, teacher: Any, fault: Callable[[str], None]) -> None:
    models = {"student": student, "teacher": teacher}
    widths = {who: int(model.config.hidden_size) for who, model in models.items()}
    if unfit := [f"the {who} is {width} wide" for who, width in widths.items() if width % heads]:
        fault(f"losses: {heads} relation heads do not divide all widths: {', '.join(unfit)}")
