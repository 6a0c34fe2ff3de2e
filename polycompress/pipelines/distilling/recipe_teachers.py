"""The teachers of a recipe's stages against its student: how each cuts texts, and what can be compared then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from polycompress.distill.layer_map import LayerMap, every_nth
from polycompress.distill.layers import count_layers
from polycompress.errors import InputError
from polycompress.evaluation.model_settings import text_length
from polycompress.evaluation.models import DEFAULT_LENGTHS
from polycompress.pipelines.distilling.config import TextConfig
from polycompress.pipelines.distilling.loss_specs import LossSpec
from polycompress.pipelines.distilling.losses import OBJECTIVES, is_untaught
from polycompress.pipelines.distilling.recipe_stages import Stage
from polycompress.pipelines.distilling.task_parts import token_rows
from polycompress.pipelines.distilling.teaching import vocabulary_of
from polycompress.pipelines.tuning.source_model import SourceModel
from polycompress.training.model import longest_text

Relation = Literal["same", "trimmed", "other"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Models:
    """Teacher and student as they are before the first stage."""

    teacher: SourceModel
    student: SourceModel | None
    """None: it is made."""
    layer_map: LayerMap
    """The teacher's layer for each of the student's."""
    directories: Mapping[str, SourceModel]
    """Further teachers, by what the stages call them: model directories."""

    def source_of(self, name: str) -> SourceModel:
        """The model that a teacher is, or is tuned from."""
        return self.directories.get(name, self.teacher)

    def layers_of(self, name: str) -> LayerMap:
        """The layers of a teacher that the student's stand for.

        Raises:
            InputError: The student's number does not divide those of a model directory.
        """
        total = count_layers(self.source_of(name).config)
        if total == self.layer_map.teacher_layers:
            return self.layer_map
        return every_nth(total, len(self.layer_map.layers))


def layers_for(stage: Stage, models: Models) -> tuple[int, ...]:
    """The first teacher's layers that the student's stand for; none where nothing asks for them and they do not fit.

    Raises:
        InputError: They do not fit.
    """
    try:
        return models.layers_of(stage.teacher or "").layers
    except InputError:
        entries = [OBJECTIVES[each.name] for each in stage.losses]
        if all(entry.of_words or entry.needs_logits for entry in entries):
            return ()
        raise


def relation(student: SourceModel, teacher: SourceModel) -> tuple[Relation, str]:
    """How two models cut texts: alike, alike with fewer pieces on the student's side, or otherwise; and why."""
    if student.tokenizer_json == teacher.tokenizer_json:
        return "same", ""
    own, other = vocabulary_of(student), vocabulary_of(teacher)
    try:
        rows = token_rows(own, other, max(own.values()) + 1)
    except InputError as error:
        return "other", str(error).removesuffix(".")
    return ("same" if rows is None else "trimmed"), ""


def check_tokenizers(stage: Stage, models: Models, *, trim: bool) -> None:
    """Add a fault for each teacher of a stage whose tokens are not the student's, where an objective needs that.

    Args:
        stage: Which.
        models: As they are before anything is trimmed.
        trim: Whether the student will lose pieces, and of its teachers the recipe's alone.
    """
    if stage.data == "parallel":  # each cuts its own sentences
        return
    student = models.student or models.teacher
    for place, name in enumerate(stage.teachers):
        found, why = relation(student, models.source_of(name))
        if found == "same" and trim and name in models.directories:
            found = "trimmed"
        trouble: list[str] = []
        if found == "other":
            trouble = (
                _on_text(stage, place, name, why)
                if stage.data == "text"
                else _on_task(stage, place, name, why)
            )
        elif found == "trimmed" and stage.data == "text":
            trouble = _on_fewer_pieces(stage, place, name)
        if found == "other" and stage.keep and not trouble:
            trouble = [
                f"keep is given, but {name} has a tokenizer of its own: what it says is kept by the student's tokens. "
                "Leave it out"
            ]
        for each in trouble:
            stage.table.fault(each)


def check_lengths(stage: Stage, models: Models, student: Any, outlines: Mapping[str, Any]) -> None:
    """Add a fault for each teacher of a stage that has not enough positions for the student's texts.

    Args:
        stage: On text or a task; on parallel sentences teachers cut for themselves.
        models: As they begin.
        student: Without weights.
        outlines: Each teacher, by its name, without weights.
    """
    own, asked = longest_text(student), stage.settings.max_length
    for name in stage.teachers if stage.data != "parallel" else ():
        limit = longest_text(outlines[name])
        if limit is None or (own is not None and own <= limit):
            continue  # what is too long for it is too long for the student
        length = asked
        is_other = relation(models.student or models.teacher, models.source_of(name))[0] == "other"
        if stage.data == "text" and is_other:
            continue  # what is too long for it is cut off, and not compared
        if length is None and not is_other:
            assert stage.task is not None
            source = models.student or models.teacher
            length = text_length(student, None, DEFAULT_LENGTHS[stage.task.kind], source.tokenizer_config)
        if length is not None and length > limit:
            stage.table.fault(
                f"max_length is {length}{'' if asked else ', as it is not given'}, but {name}, the teacher, has "
                f"positions for {limit} tokens: give at most {limit}"
            )


def words_faults(specs: Sequence[LossSpec], place: int, *, masked: bool) -> list[str]:
    """What cannot be learnt on text of a teacher that cuts it otherwise than the student.

    Args:
        specs: The objectives.
        place: Of the teacher, from 0: all objectives ask the first, few ask others.
        masked: Whether tokens are masked.
    """
    asking = [each.name for each in specs if place == 0 or OBJECTIVES[each.name].of_words]
    faults = []
    if wrong := [name for name in asking if not OBJECTIVES[name].by_words]:
        able = [name for name, entry in OBJECTIVES.items() if entry.by_words]
        faults.append(
            f"losses: {', '.join(wrong)} compares tokens. Word by word, or text by text, there are {', '.join(able)}"
        )
    if masked:
        faults.append("masked: tokens are masked one by one, but the teacher has others: write masked: false")
    return faults


def _on_fewer_pieces(stage: Stage, place: int, name: str) -> list[str]:
    names = [each.name for each in stage.losses if _is_over_vocabulary(each.name, place)]
    if not names:
        return []
    return [
        f"losses: {', '.join(names)} compares answers over one vocabulary, but the student's is not that of {name}: "
        f"{'take unequal' if place == 0 else 'leave it out'}"
    ]


def _on_text(stage: Stage, place: int, name: str, why: str) -> list[str]:
    """Of a teacher that is shown the text in its own tokens."""
    masked = isinstance(stage.settings, TextConfig) and stage.settings.masked
    more = (
        ". A text cut into pieces that the teacher lacks, such as OFA adds, has no answers of it to compare: distil "
        "before they are added, or let them be learnt in a stage of the kind mlm"
    )
    return [
        f"{fault}. The student's tokenizer is not that of {name}: {why}{more if stage.answers_text else ''}"
        for fault in words_faults(stage.losses, place, masked=masked)
    ]


def _on_task(stage: Stage, place: int, name: str, why: str) -> list[str]:
    """Of a teacher that is shown a task's examples in its own tokens."""
    assert stage.task is not None
    of_texts = stage.task.kind in ("text-classification", "pair-classification")
    asking = stage.losses if place == 0 else [each for each in stage.losses if OBJECTIVES[each.name].of_words]
    wrong = []
    for each in asking:
        entry = OBJECTIVES[each.name]
        by_words = entry.of_words and stage.task.kind != "question-answering"
        if not (is_untaught(each) or by_words or (entry.needs_logits and of_texts)):
            wrong.append(each.name)
    if not wrong:
        return []
    return [
        f"teacher: the student's tokenizer is not that of {name}, but {', '.join(wrong)} compares tokens: {why}. "
        "Classes of texts, mixed-hidden and mixed-classes need no common tokens"
    ]


def _is_over_vocabulary(name: str, place: int) -> bool:
    entry = OBJECTIVES[name]
    return entry.needs_logits and name != "unequal" and (place == 0 or entry.of_words)
