"""Which of a recipe's models have a language model's head, stage by stage: found in configurations alone."""

from __future__ import annotations

from polycompress.pipelines.distilling.config import TextConfig
from polycompress.pipelines.distilling.losses import OBJECTIVES
from polycompress.pipelines.distilling.recipe import Recipe
from polycompress.pipelines.distilling.recipe_learning import TEACHER
from polycompress.pipelines.distilling.recipe_stages import Stage
from polycompress.pipelines.distilling.recipe_teachers import Models
from polycompress.pipelines.distilling.text_answers import no_head_advice
from polycompress.training.model import Kind, named_head


def check_language_heads(recipe: Recipe, models: Models) -> None:
    """Add a fault for each stage that compares answers on text, and has not both heads for it.

    Args:
        recipe: With its stages.
        models: Found; a student that is made has the teacher's head.
    """
    has, lost_in = named_head((models.student or models.teacher).config), ""
    tuned = {stage.name for stage in recipe.stages if stage.kind == "tune"}
    for stage in recipe.stages:
        if stage.kind == "tune":
            continue
        faults = [
            _trouble(stage, recipe, name, named_head(models.source_of(name).config), has, lost_in)
            for place, name in enumerate(stage.teachers)
            if stage.data == "text" and stage.asks_answers_of(place) and name not in tuned
        ]
        for fault in dict.fromkeys(each for each in faults if each is not None):
            stage.table.fault(fault)
        has, lost_in = ((has or "masked"), "") if stage.trains_language_head else (None, stage.name)


def compared(stage: Stage) -> str:
    """Objectives of a stage that compare answers, for messages."""
    return ", ".join(each.name for each in stage.losses if OBJECTIVES[each.name].needs_logits)


def _trouble(
    stage: Stage, recipe: Recipe, teacher: str, theirs: Kind | None, own: Kind | None, lost_in: str
) -> str | None:
    """What a stage lacks; None where it lacks nothing."""
    names = compared(stage)
    if theirs is None:
        called = recipe.teacher if teacher == TEACHER else teacher
        return (
            f"losses: {names} on text compares answers of language models, but {called} has no head to answer with: "
            f"{no_head_advice(called)}"
        )
    if own is None and lost_in:
        return (
            f"losses: {names} on text compares answers of language models, but stage {lost_in} leaves the student "
            "without the head: put this stage before it, or one of the kind mlm between them, or let that one compare "
            "answers on text as well"
        )
    if own is None:
        return (
            f"losses: {names} on text compares answers of language models, but the student "
            f"{recipe.student.directory} has no head to answer with: {no_head_advice(str(recipe.student.directory))}"
        )
    if own != theirs:
        return f"losses: {names} on text compares a {own} language model, the student, with a {theirs} one"
    masked = isinstance(stage.settings, TextConfig) and stage.settings.masked
    if theirs == "masked" and not masked:
        return (
            f"masked is false, but {names} compares what masked language models answer for masked tokens: write "
            "masked: true"
        )
    if theirs == "causal" and masked:
        return (
            f"masked is true, but {names} compares what causal language models answer, which is at every token: write "
            "masked: false"
        )
    return None
