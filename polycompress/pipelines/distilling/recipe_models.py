"""The models of a recipe against its stages: found on disk, their configurations read, no weight loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from polycompress.distill.capture import check_needs
from polycompress.distill.layer_map import LayerMap, make_layer_map
from polycompress.distill.layers import count_layers
from polycompress.distill.objectives.unequal import VocabularyMap
from polycompress.errors import InputError
from polycompress.modeldir.paths import user_path
from polycompress.pipelines.distilling.config import TextConfig
from polycompress.pipelines.distilling.given_student import layers_of_given, relation_faults
from polycompress.pipelines.distilling.losses import make_losses
from polycompress.pipelines.distilling.pair import Pair
from polycompress.pipelines.distilling.recipe import Findings, Recipe
from polycompress.pipelines.distilling.recipe_heads import check_language_heads
from polycompress.pipelines.distilling.recipe_keep import check_keep
from polycompress.pipelines.distilling.recipe_learning import TEACHER, is_directory
from polycompress.pipelines.distilling.recipe_outlines import make_outlines
from polycompress.pipelines.distilling.recipe_parallel import check_parallel
from polycompress.pipelines.distilling.recipe_stages import Stage
from polycompress.pipelines.distilling.recipe_teachers import (
    Models,
    check_lengths,
    check_tokenizers,
    layers_for,
)
from polycompress.pipelines.mlm import MlmConfig
from polycompress.pipelines.tuning.source_model import SourceModel, find_source_model
from polycompress.pipelines.tuning.task_heads import answers_task
from polycompress.training.distilling import needs_of, union
from polycompress.training.model import (
    language_model_kind,
    longest_text,
    named_head,
)


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
    directories, missing = _find_directories(recipe, out)
    models = Models(teacher=teacher, student=student, layer_map=layer_map, directories=directories)
    # What is asked of a model that is not there would be faults of nothing else.
    known = replace(recipe, stages=tuple(each for each in recipe.stages if not missing & set(each.teachers)))
    _check_heads(known, models)
    check_language_heads(known, models)
    for stage in known.stages:
        check_tokenizers(stage, models, trim=recipe.student.trim)
    shown = table.tried("student", lambda: make_outlines(known, models))
    if shown is not None:
        for stage in known.stages:
            _check_stage(stage, models, *shown)
    return models


def _find_directories(recipe: Recipe, out: Path) -> tuple[dict[str, SourceModel], set[str]]:
    """Teachers that are model directories, and the names of those that cannot be used, which are faults."""
    stages = {stage.name for stage in recipe.stages}
    found: dict[str, SourceModel] = {}
    missing: set[str] = set()
    for stage in recipe.stages:
        for name in stage.teachers:
            if name == TEACHER or name in stages or name in found:
                continue
            model = None
            if is_directory(name):
                model = stage.table.tried("teacher", lambda name=name: _find_directory(name, out))  # type: ignore[misc]
            if model is None:
                missing.add(name)  # or no stage is called so, which is a fault by now
            else:
                found[name] = model
    return found, missing


def _find_directory(name: str, out: Path) -> SourceModel:
    path = user_path(name)
    if not path.is_dir():
        raise InputError(f"{name}: no such directory")
    return find_source_model(path, out)


def layers_between(recipe: Recipe, teacher: SourceModel, student: SourceModel | None) -> LayerMap:
    """The teacher's layers that the student's stand for: as asked for, as it was made, or the last of each block.

    Raises:
        InputError: They do not fit.
    """
    asked = recipe.student
    if student is None:
        return make_layer_map(count_layers(teacher.config), asked.layers, asked.strategy, asked.layer_map)
    return layers_of_given(teacher, student, asked.layer_map)


def _check_heads(recipe: Recipe, models: Models) -> None:
    for stage in recipe.stages:
        for place, name in enumerate(stage.teachers):
            if stage.task is None or not stage.asks_answers_of(place):
                continue
            if name != TEACHER and name not in models.directories:
                continue  # a stage, which learns the task
            if answers_task(models.source_of(name).config, stage.task):
                continue
            tuned = [
                each.name
                for each in recipe.stages
                if each.number < stage.number and each.kind == "tune" and each.task == stage.task
            ]
            help_ = f"write teacher: {tuned[0]}" if tuned else "tune one in an earlier stage (kind: tune)"
            called = recipe.teacher if name == TEACHER else name
            stage.table.fault(
                f"teacher: {called} has no head for task {stage.task.id}, so it cannot answer: {help_}"
            )


def _check_stage(stage: Stage, models: Models, student: Any, outlines: Mapping[str, Any]) -> None:
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
    if stage.data == "parallel":
        check_parallel(stage, source, models.source_of(stage.teacher or ""))
    elif stage.losses and not stage.is_plain:
        check_lengths(stage, models, student, outlines)
        _check_objectives(stage, models, student, outlines)


def _check_objectives(stage: Stage, models: Models, student: Any, outlines: Mapping[str, Any]) -> None:
    """What its objectives ask of the student and of each teacher."""
    fault = stage.table.fault
    nothing = np.zeros(1, np.int64)
    teachers = [outlines[name] for name in stage.teachers]
    first = teachers[0] if teachers else outlines[TEACHER]
    try:
        pair = Pair(
            student=student.config,
            teacher=first.config,
            layers=layers_for(stage, models),
            steps=1,
            vocabularies=VocabularyMap(nothing, nothing, 1, 1),
            others=tuple(each.config for each in teachers[1:]),
        )
        made = make_losses(stage.losses, pair)
    except InputError as error:
        fault(f"losses: {error}")
        return
    check_keep(
        stage.table, stage.keep, stage.keep_top, stage.data, made, int(getattr(first.config, "vocab_size", 0))
    )
    needs = [(student, "student", union(each.objective.student_needs for each in made))]
    if teachers:
        needs.append((first, "teacher", union(each.objective.teacher_needs for each in made)))
    needs += [
        (each, f"teacher {stage.teachers[place]}", needs_of(made, place))
        for place, each in enumerate(teachers[1:], start=1)
    ]
    for model, who, wanted in needs:
        for trouble in check_needs(model, wanted, who):
            fault(f"losses: {trouble}")
    for spec in stage.losses:
        if spec.name == "minilmv2":
            for trouble in relation_faults(int(spec.options.get("relation_heads", 12)), student, first):
                fault(f"losses: {trouble}")
