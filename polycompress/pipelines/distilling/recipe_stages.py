"""The stages of a recipe: what each trains, on which data, what it learns and of whom, and how it is trained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

from polycompress.corpora import CorpusSpec, PairSpec, Reading, parse_corpora, parse_pairs
from polycompress.errors import InputError
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.evaluation.tasks import find_task
from polycompress.languages import Language, find_language
from polycompress.modeldir.paths import user_path
from polycompress.pipelines.distilling.loss_specs import LossSpec
from polycompress.pipelines.distilling.losses import OBJECTIVES, check_losses, is_untaught
from polycompress.pipelines.distilling.recipe_keep import read_keep
from polycompress.pipelines.distilling.recipe_settings import SETTINGS, Kind, Settings, read_settings
from polycompress.pipelines.distilling.recipe_yaml import Located
from polycompress.pipelines.tuning.data import check_trainable

NONE: Final = "none"
TEACHER: Final = "teacher"
"""What stages call the recipe's teacher."""
GOLD: Final = "gold"
CORPORA: Final = "corpora"
"""As ``transfer``: the recipe's own text."""
VECTORS: Final = "sentence-vectors"
"""The objective of parallel sentences."""

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
    losses, teachers = _learning(table, kind, data)
    teacher = teachers[0] if teachers else None
    task = _task(table, data, tasks)
    transfer, transfers_corpora = _transfer(table, kind, data, languages, reading)
    settings = read_settings(
        table,
        kind,
        data,
        is_taught=teacher is not None or any(each.name != GOLD for each in losses),
        shared=shared,
    )
    stage = Stage(
        number=number,
        name=name,
        kind=kind,
        data=data,
        teacher=teacher,
        others=teachers[1:],
        losses=losses,
        task=task,
        train_languages=_train_languages(table, data, languages),
        limit=table.count("limit") if data != "text" else None,
        transfer=transfer,
        transfers_corpora=transfers_corpora,
        pairs=_pairs(table, data, languages),
        keep=read_keep(table, kind, settings, len(teachers)),
        settings=settings,
        table=table,
    )
    table.finish()
    return stage


def _learning(table: Located, kind: Kind, data: str) -> tuple[tuple[LossSpec, ...], tuple[str, ...]]:
    """What is learnt, and of whom."""
    if kind != "distil":
        for name in ("losses", "teacher"):
            if table.value(name) not in (None, NONE):
                table.fault(f"{name} is given, but a stage of the kind {kind} has none: leave it out")
        return (), ()
    named = _teachers(table)
    losses = _losses(table, data)
    of_labels = data == "task" and bool(losses) and all(map(is_untaught, losses))
    if named == (NONE,):
        if data != "task":
            table.fault(
                "teacher is 'none', but text alone teaches nothing here: name a teacher, or take kind: mlm"
            )
        elif not of_labels and table.has("losses"):
            table.fault(
                "losses: without a teacher there is gold alone, and multi-exit where it learns labels; name a teacher, "
                "or leave others out"
            )
        elif not table.has("losses"):
            losses = (LossSpec(name=GOLD),)
        return losses, ()
    if not losses and not table.has("losses"):
        table.fault("losses is missing: give a list of objectives, such as hidden-mse")
    if of_labels:
        if named:
            asking = " and ".join(each.name for each in losses)
            table.fault(f"teacher is named, but {asking} asks none: write teacher: none, or add an objective")
        return losses, ()
    alone = [each.name for each in losses if not OBJECTIVES[each.name].of_words]
    if len(named) > 1 and len(alone) == len(losses) and losses:
        table.fault(
            f"teacher names {len(named)}, but {', '.join(alone)} asks the first one alone: add mixed-hidden or "
            "mixed-classes, or name one"
        )
    return losses, named or (TEACHER,)


def _teachers(table: Located) -> tuple[str, ...]:
    """One name or a list of them; nothing where the field is missing."""
    if not isinstance(table.value("teacher"), list):
        named = table.optional_text("teacher")
        return (named,) if named else ()
    names = table.texts("teacher")
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        table.fault(f"teacher names {twice[0]!r} twice: name each once, and give it more weight")
    if NONE in names:
        table.fault("teacher: 'none' stands in a list: name teachers, or write teacher: none")
    return tuple(dict.fromkeys(name for name in names if name != NONE))


def is_directory(name: str) -> bool:
    """Whether a teacher that no stage is called is a model directory."""
    try:
        return "/" in name or user_path(name).is_dir()
    except InputError:
        return False


def _losses(table: Located, data: str) -> tuple[LossSpec, ...]:
    given = table.value("losses")
    if isinstance(given, list):
        for place, each in enumerate(given):
            if isinstance(each, str):
                given[place] = {"name": each}
    if given is None:
        return (LossSpec(name=VECTORS),) if data == "parallel" else ()
    found: list[LossSpec] = []
    for part in table.tables("losses"):
        name = part.text("name")
        weight = part.number("weight") if part.has("weight") else 1.0
        options = part.value("options") or {}
        part.allow("weight")
        part.finish()
        if not isinstance(options, dict):
            part.fault(f"options is {options!r}: give the objective's fields")
            continue
        spec = LossSpec(name=name, weight=1.0 if weight is None else weight, options=options)
        faults = check_losses([spec]) if name else ()
        for fault in faults:
            part.fault(f"name: {fault}")
        if any(each.name == name for each in found):
            part.fault(f"name is {name!r} for the second time: an objective stands once in a stage")
        elif not faults and name:
            found.append(spec)
    if not given:
        table.fault("losses is empty: give at least one objective")
    return tuple(found)


def _task(table: Located, data: str, tasks: Path | None) -> TaskSpec | None:
    if data != "task":
        for name in ("task", "train_langs", *(("limit",) if data == "text" else ())):
            if table.value(name) is not None:
                table.fault(f"{name} is given, but data is {data}: take data: task, or leave it out")
        return None
    name = table.text("task")
    if not name:
        return None

    def find() -> TaskSpec:
        spec = find_task(name, tasks)
        check_trainable(spec)
        return spec

    return cast("TaskSpec | None", table.tried("task", find))


def _train_languages(table: Located, data: str, languages: Sequence[Language]) -> tuple[Language, ...]:
    if data != "task" or table.value("train_langs") is None:
        return tuple(languages[:1])
    found = [
        table.tried("train_langs", lambda spec=spec: find_language(spec))  # type: ignore[misc]
        for spec in table.texts("train_langs")
    ]
    return tuple(dict.fromkeys(each for each in found if each is not None))


def _transfer(
    table: Located, kind: Kind, data: str, languages: Sequence[Language], reading: Reading
) -> tuple[tuple[CorpusSpec, ...], bool]:
    given = table.value("transfer")
    if given is None:
        return (), False
    if data != "task" or kind != "distil":
        table.fault(
            "transfer is given, but only a stage that distils on a task has texts for its teacher to answer"
        )
        return (), False
    if given == CORPORA:
        return (), True
    found: list[CorpusSpec] = []
    for spec in table.texts("transfer"):
        corpora = table.tried(
            "transfer",
            lambda spec=spec: parse_corpora(  # type: ignore[misc]
                [spec], languages, option="transfer", asked_with="languages", reading=reading
            ),
        )
        found += corpora or ()
    return tuple(found), False


def _pairs(table: Located, data: str, languages: Sequence[Language]) -> tuple[PairSpec, ...]:
    if data != "parallel":
        if table.value("pairs") is not None:
            table.fault(f"pairs is given, but data is {data}: take data: parallel, or leave it out")
        return ()
    specs = table.texts("pairs")
    found: list[PairSpec] = []
    for spec in specs if languages else ():
        found += table.tried("pairs", lambda spec=spec: parse_pairs([spec], languages)) or ()  # type: ignore[misc]
    return tuple(found)


def _usual(table: Located) -> str:
    return "task" if table.has("task") else "parallel" if table.has("pairs") else "text"


def _choice(table: Located, name: str, choices: Sequence[str], default: str) -> str:
    table.allow(name)
    return (table.choice(name, choices) if table.has(name) else None) or default
