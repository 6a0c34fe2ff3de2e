"""What the stages of a recipe need of each other, of its text and of its tasks: found before any model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from difflib import get_close_matches
from pathlib import Path

from polycompress.errors import InputError
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.languages import Language
from polycompress.pipelines.distilling.losses import OBJECTIVES, is_untaught
from polycompress.pipelines.distilling.recipe_learning import NONE, TEACHER, VECTORS, is_directory
from polycompress.pipelines.distilling.recipe_stages import Stage
from polycompress.pipelines.distilling.recipe_table import Located

_OF_CLASSES = ("multi-exit", "mixed-classes")
"""Objectives whose heads classify texts or words."""
_TRANSFERRED = ("text-classification", "pair-classification", "token-classification")


def check_stages(
    stages: Sequence[Stage],
    table: Located,
    with_text: AbstractSet[Language],
    languages: Sequence[Language],
    trim: bool,
) -> None:
    """Add a fault to its stage's table for everything that no earlier stage, and no text, gives.

    Args:
        stages: In order.
        table: The file.
        with_text: Languages that there is text of.
        languages: Of the recipe.
        trim: Whether the vocabulary is chosen by the text.
    """
    if table.has("stages") and not any(stage.kind != "tune" for stage in stages):
        table.fault("stages: none trains the student: add one of the kind distil or mlm")
    known: dict[str, Stage] = {}
    for stage in stages:
        if stage.name in known:
            stage.table.fault(
                f"name is {stage.name!r}, as is that of stage {known[stage.name].number}: give another"
            )
        known.setdefault(stage.name, stage)
    for stage in stages:
        _check_losses(stage)
        for place, name in enumerate(stage.teachers):
            _check_teacher(stage, place, name, known)
        if stage.kind == "tune" and all(stage.name not in each.teachers for each in stages[stage.number :]):
            stage.table.fault(
                f"name: no later stage has {stage.name!r} as its teacher: name it, or leave it out"
            )
        if stage.has_transfer and stage.task is not None and stage.task.kind not in _TRANSFERRED:
            stage.table.fault(f"transfer: texts alone are no examples of {stage.task.id} ({stage.task.kind})")
    _check_text(stages, table, with_text, languages, trim)


def check_examples(stages: Sequence[Stage], data: Path | None) -> None:
    """Add a fault for each stage whose task has no training examples in its languages.

    Args:
        stages: In order.
        data: A data directory; None: the hub.
    """
    for stage in stages:
        if stage.task is None or not stage.train_languages:
            continue
        try:
            there = {part.language for part in stage.task.languages("train", data)}
        except InputError as error:
            stage.table.fault(f"task: {error}")
            continue
        missing = [language.code for language in stage.train_languages if language.code not in there]
        if missing:
            found = f"it has some in {', '.join(sorted(there))}" if there else "it has none in any language"
            stage.table.fault(
                f"train_langs: task {stage.task.id} has no training examples in {', '.join(missing)}: {found}"
            )


def same_answers(one: TaskSpec, other: TaskSpec) -> bool:
    """Whether a head of one task answers the other: kind and labels are equal."""
    return (one.kind, one.labels) == (other.kind, other.labels)


def _check_losses(stage: Stage) -> None:
    names = [each.name for each in stage.losses]
    alien = [name for name in names if OBJECTIVES[name].data not in ("any", stage.data)]
    others = [name for name in names if name != VECTORS]
    if stage.data == "parallel" and others:
        stage.table.fault(
            f"losses: {', '.join(others)} compares what both models say about the same tokens, but a translation has "
            f"others: on parallel sentences there is {VECTORS}"
        )
    elif stage.data == "text" and alien:
        stage.table.fault(
            f"losses: {', '.join(alien)} compares answers of a task's head, which text alone has none of: take data: "
            "task (with transfer, where there are no labels), or leave it out"
        )
    elif stage.data == "task" and alien:
        stage.table.fault(
            f"losses: {', '.join(alien)} compares answers over vocabularies, but a task's classes are the same for "
            "both models: take divergence"
        )
    if stage.task is not None and stage.task.kind == "question-answering":
        for name in [name for name in names if name in _OF_CLASSES]:
            stage.table.fault(
                f"losses: {name} is for texts and words that are classified, but {stage.task.id} asks for the ends of "
                "an answer: leave it out"
            )
    labelled = [each.name for each in stage.losses if is_untaught(each) or each.name == "dkd"]
    if stage.has_transfer and labelled:
        stage.table.fault(
            f"losses: {', '.join(labelled)} asks for labels, but the texts of transfer have none: leave it out, or "
            "leave out transfer"
        )


def _check_teacher(stage: Stage, place: int, name: str, known: Mapping[str, Stage]) -> None:
    found = known.get(name)
    if name == TEACHER or (found is None and is_directory(name)):
        return
    earlier = [each.name for each in known.values() if each.kind == "tune" and each.number < stage.number]
    if found is None:
        near = get_close_matches(name, [TEACHER, NONE, *earlier], n=1)
        guess = f" Did you mean {near[0]}?" if near else ""
        stage.table.fault(
            f"teacher is {name[:60]!r}, which no stage is called: give {', '.join([TEACHER, NONE, *earlier])}, or a "
            f"model directory.{guess}"
        )
    elif found.kind != "tune":
        stage.table.fault(
            f"teacher is {name!r}, but that stage trains the student: a stage of the kind tune makes teachers"
        )
    elif found.number >= stage.number:
        stage.table.fault(f"teacher is {name!r}, but that stage comes later: move it up")
    elif stage.data == "text" and stage.asks_answers_of(place):
        compared = ", ".join(each.name for each in stage.losses if OBJECTIVES[each.name].needs_logits)
        stage.table.fault(
            f"teacher is {name!r}, which learns a task, but {compared} on text asks for a language model's answers: "
            f"write teacher: {TEACHER}"
        )
    elif (
        stage.task is not None
        and found.task is not None
        and stage.asks_answers_of(place)
        and not same_answers(stage.task, found.task)
    ):
        stage.table.fault(
            f"teacher is {name!r}, which learns {found.task.id}, but the answers of {stage.task.id} are asked of it: "
            "tune a teacher on that task"
        )


def _check_text(
    stages: Sequence[Stage],
    table: Located,
    with_text: AbstractSet[Language],
    languages: Sequence[Language],
    trim: bool,
) -> None:
    reasons = [f"stage {stage.name}" for stage in stages if stage.data == "text" or stage.transfers_corpora]
    reasons += ["trimming the student"] if trim else []
    missing = [language for language in languages if language not in with_text]
    if reasons and missing:
        table.fault(
            "corpora: there is no text of "
            + " and ".join(language.name for language in missing)
            + f", which {' and '.join(reasons)} need{'' if len(reasons) > 1 else 's'}: give "
            + ", ".join(f"{each.code}=FILES" for each in missing)
        )
