"""The stages of a recipe: what each trains, on which data, what it learns and of whom, and how it is trained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

from polycompress.corpora import CorpusSpec, PairSpec, Reading
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.languages import Language
from polycompress.pipelines.distilling.loss_specs import LossSpec
from polycompress.pipelines.distilling.losses import OBJECTIVES, is_untaught
from polycompress.pipelines.distilling.recipe_data import (
    read_pair_specs,
    read_task,
    read_train_languages,
    read_transferred,
)
from polycompress.pipelines.distilling.recipe_keep import read_keep, read_top
from polycompress.pipelines.distilling.recipe_learning import GOLD, NONE, TEACHER, read_learning
from polycompress.pipelines.distilling.recipe_settings import SETTINGS, Kind, Settings, read_settings
from polycompress.pipelines.distilling.recipe_table import Located

Data = Literal["text", "task", "parallel"]

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One stage, checked by itself."""

    number: int
    """From 1."""
    name: str
    kind: Kind
    """``distil`` and ``mlm`` train the student, ``tune`` makes a teacher for later stages."""
    data: Data
    teacher: str | None
    """``teacher``, the name of an earlier stage or a model directory; None: gold labels, or the text itself."""
    others: tuple[str, ...]
    """Second and later teachers."""
    losses: tuple[LossSpec, ...]
    task: TaskSpec | None
    train_languages: tuple[Language, ...]
    limit: int | None
    transfer: tuple[CorpusSpec, ...]
    """Text that the teacher answers instead of the task's own training examples."""
    transfers_corpora: bool
    """Whether that is the recipe's text."""
    pairs: tuple[PairSpec, ...]
    """Sentences and their translations."""
    keep: Path | bool
    """Directory in which what the teacher says is kept, or True: in the run."""
    keep_top: int | None
    """Of answers over a vocabulary, how many of the likeliest are kept at each token."""
    settings: Settings
    table: Located
    """Its place in the file, for further faults."""

    @property
    def folder(self) -> str:
        """Of its run."""
        return f"{self.number}-{self.name}"

    @property
    def teachers(self) -> tuple[str, ...]:
        """All teachers."""
        return () if self.teacher is None else (self.teacher, *self.others)

    @property
    def taught_by(self) -> str | None:
        """All teachers, in words."""
        return ", ".join(self.teachers) or None

    def asks_answers_of(self, place: int) -> bool:
        """Whether answers of a teacher are compared; the first has place 0."""
        names = {each.name for each in self.losses}
        return self.needs_logits if place == 0 else "mixed-classes" in names

    @property
    def needs_logits(self) -> bool:
        """Whether a teacher's answers are compared."""
        return any(OBJECTIVES[each.name].needs_logits for each in self.losses if not is_untaught(each))

    @property
    def is_plain(self) -> bool:
        """Whether it is fine-tuning on labels, and nothing else."""
        return self.teacher is None and all(each.name == GOLD for each in self.losses)

    @property
    def answers_text(self) -> bool:
        """Whether it needs language models' heads, and the student keeps its own."""
        return self.data == "text" and self.needs_logits

    @property
    def trains_language_head(self) -> bool:
        """Whether the student comes out with a language model's head."""
        return self.kind == "mlm" or self.answers_text

    @property
    def has_transfer(self) -> bool:
        """Whether it learns from texts without labels."""
        return bool(self.transfer) or self.transfers_corpora

    @property
    def trains_head(self) -> bool:
        """Whether the student comes out with a head of the task that has learnt something."""
        return self.data == "task" and any(OBJECTIVES[each.name].needs_logits for each in self.losses)


def read_stages(
    table: Located, languages: Sequence[Language], reading: Reading, data: Path | None, tasks: Path | None
) -> tuple[Stage, ...]:
    """All stages of a recipe; what is wrong becomes faults of the table."""
    shared = table.table("training")
    if shared is not None:
        shared.allow(*SETTINGS)
        shared.finish()
    if not table.has("stages"):
        table.fault("stages is missing: give a list of stages")
        return ()
    parts = table.tables("stages")
    return tuple(
        _stage(part, number, shared, languages, reading, tasks) for number, part in enumerate(parts, 1)
    )


def _stage(
    table: Located,
    number: int,
    shared: Located | None,
    languages: Sequence[Language],
    reading: Reading,
    tasks: Path | None,
) -> Stage:
    name = table.text("name")
    if name and (not _NAME.fullmatch(name) or name in (NONE, TEACHER)):
        table.fault(f"name is {name[:60]!r}: give small letters, digits and hyphens, not {NONE} or {TEACHER}")
    kind = cast("Kind", _choice(table, "kind", ("distil", "tune", "mlm"), "distil"))
    usual = {"tune": "task", "mlm": "text"}.get(kind, _usual(table))
    data = cast("Data", _choice(table, "data", ("text", "task", "parallel"), usual))
    if kind != "distil" and data != usual:
        table.fault(f"data is {data!r}: a stage of the kind {kind} is trained on {usual}")
        data = cast("Data", usual)
    losses, teachers = read_learning(table, kind, data)
    teacher = teachers[0] if teachers else None
    task = read_task(table, data, tasks)
    transfer, transfers_corpora = read_transferred(table, kind, data, languages, reading)
    settings = read_settings(
        table,
        kind,
        data,
        is_taught=teacher is not None or any(each.name != GOLD for each in losses),
        shared=shared,
    )
    keep = read_keep(table, kind, settings, len(teachers))
    stage = Stage(
        number=number,
        name=name,
        kind=kind,
        data=data,
        teacher=teacher,
        others=teachers[1:],
        losses=losses,
        task=task,
        train_languages=read_train_languages(table, data, languages),
        limit=table.count("limit") if data != "text" else None,
        transfer=transfer,
        transfers_corpora=transfers_corpora,
        pairs=read_pair_specs(table, data, languages),
        keep=keep,
        keep_top=read_top(table, keep, data),
        settings=settings,
        table=table,
    )
    table.finish()
    return stage


def _usual(table: Located) -> str:
    return "task" if table.has("task") else "parallel" if table.has("pairs") else "text"


def _choice(table: Located, name: str, choices: Sequence[str], default: str) -> str:
    table.allow(name)
    return (table.choice(name, choices) if table.has(name) else None) or default
