"""The stages of a recipe: what each trains, on which data, what it learns and of whom, and how it is trained."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, cast

from polycompress.corpora import CorpusSpec, Reading, parse_corpora
from polycompress.errors import InputError
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.evaluation.tasks import find_task
from polycompress.languages import Language, find_language
from polycompress.pipelines.distilling.config import LEARNING_RATE, TextConfig
from polycompress.pipelines.distilling.loss_specs import LossSpec
from polycompress.pipelines.distilling.losses import OBJECTIVES, check_losses
from polycompress.pipelines.distilling.recipe_yaml import Located
from polycompress.pipelines.mlm import MlmConfig
from polycompress.pipelines.tuning.config import FinetuneConfig
from polycompress.pipelines.tuning.data import check_trainable
from polycompress.training.config import read_config
from polycompress.training.errors import ConfigError

Kind = Literal["distil", "tune", "mlm"]
Settings = TextConfig | MlmConfig | FinetuneConfig
NONE: Final = "none"
TEACHER: Final = "teacher"
"""What stages call the recipe's teacher."""
GOLD: Final = "gold"
CORPORA: Final = "corpora"
"""As ``transfer``: the recipe's own text."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_ENGINE: Final = {
    "steps": "training.steps",
    "seed": "training.seed",
    "precision": "training.precision",
    "accumulation": "training.accumulation",
    "log_every": "training.log_every",
    "evaluate_every": "training.evaluate_every",
    "snapshot_every": "training.snapshots.every_steps",
    "learning_rate": "training.optimiser.learning_rate",
    "weight_decay": "training.optimiser.weight_decay",
    "max_grad_norm": "training.optimiser.max_grad_norm",
    "warmup_steps": "training.schedule.warmup_steps",
    "batch_tokens": "batching.token_budget",
    "mixing": "mixing.strategy",
    "max_length": "max_length",
    "device": "device",
}
_TEXT: Final = {
    **_ENGINE,
    **{name: name for name in ("masked", "dropout", "freeze_embeddings")},
    "mask_rate": "masking.rate",
}
_MLM: Final = {**_ENGINE, "mask_rate": "masking.rate", "loss": "loss", "negatives": "negatives"}
_TASK: Final = {each.name: each.name for each in fields(FinetuneConfig)}
_UNTAUGHT: Final = ("freeze", "class_weights")
"""Of a task: what a teacher's pupil has not."""
_ALL: Final = (*dict.fromkeys((*_TEXT, *_MLM, *_TASK)),)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One stage, checked by itself."""

    number: int
    """From 1."""
    name: str
    kind: Kind
    """``distil`` and ``mlm`` train the student, ``tune`` makes a teacher for later stages."""
    data: Literal["text", "task"]
    teacher: str | None
    """``teacher`` or the name of an earlier stage; None: gold labels, or the text itself."""
    losses: tuple[LossSpec, ...]
    task: TaskSpec | None
    train_languages: tuple[Language, ...]
    limit: int | None
    transfer: tuple[CorpusSpec, ...]
    """Text that the teacher answers instead of the task's own training examples."""
    transfers_corpora: bool
    """Whether that is the recipe's text."""
    settings: Settings
    table: Located
    """Its place in the file, for further faults."""

    @property
    def folder(self) -> str:
        """Of its run."""
        return f"{self.number}-{self.name}"

    @property
    def needs_logits(self) -> bool:
        """Whether a teacher's answers are compared."""
        return any(OBJECTIVES[each.name].needs_logits for each in self.losses if each.name != GOLD)

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
    defaults = table.value("training") or {}
    if not isinstance(defaults, dict):
        table.fault(f"training is {defaults!r}: give settings that all stages share, such as seed")
        defaults = {}
    shared = table.table("training") if isinstance(table.value("training"), dict) else None
    for name in defaults:
        if name not in _ALL and shared is not None:
            shared.allow(*_ALL)
    if shared is not None:
        shared.finish()
    if not table.has("stages"):
        table.fault("stages is missing: give a list of stages")
        return ()
    parts = table.tables("stages")
    return tuple(
        _stage(part, number, defaults, languages, reading, tasks) for number, part in enumerate(parts, 1)
    )


def _stage(
    table: Located,
    number: int,
    defaults: Mapping[str, Any],
    languages: Sequence[Language],
    reading: Reading,
    tasks: Path | None,
) -> Stage:
    name = table.text("name")
    if name and (not _NAME.fullmatch(name) or name in (NONE, TEACHER)):
        table.fault(f"name is {name[:60]!r}: give small letters, digits and hyphens, not {NONE} or {TEACHER}")
    kind = cast("Kind", _choice(table, "kind", ("distil", "tune", "mlm"), "distil"))
    usual = {"tune": "task", "mlm": "text"}.get(kind, "task" if table.has("task") else "text")
    data = cast("Literal['text', 'task']", _choice(table, "data", ("text", "task"), usual))
    if kind != "distil" and data != usual:
        table.fault(f"data is {data!r}: a stage of the kind {kind} is trained on {usual}")
        data = cast("Literal['text', 'task']", usual)
    losses, teacher = _learning(table, kind, data)
    task = _task(table, data, tasks)
    transfer, transfers_corpora = _transfer(table, kind, data, languages, reading)
    stage = Stage(
        number=number,
        name=name,
        kind=kind,
        data=data,
        teacher=teacher,
        losses=losses,
        task=task,
        train_languages=_train_languages(table, data, languages),
        limit=table.count("limit") if data == "task" else None,
        transfer=transfer,
        transfers_corpora=transfers_corpora,
        settings=_settings(table, kind, data, teacher, defaults),
        table=table,
    )
    table.finish()
    return stage


def _learning(table: Located, kind: Kind, data: str) -> tuple[tuple[LossSpec, ...], str | None]:
    """What is learnt, and of whom."""
    named = table.optional_text("teacher")
    if kind != "distil":
        for name in ("losses", "teacher"):
            if table.value(name) is not None:
                table.fault(f"{name} is given, but a stage of the kind {kind} has none: leave it out")
        return (), None
    losses = _losses(table)
    of_labels = data == "task" and bool(losses) and all(each.name == GOLD for each in losses)
    if named == NONE:
        if data == "text":
            table.fault(
                "teacher is 'none', but text alone teaches nothing here: name a teacher, or take kind: mlm"
            )
        elif not of_labels and table.has("losses"):
            table.fault("losses: without a teacher there is gold alone; name a teacher, or leave others out")
        elif not table.has("losses"):
            losses = (LossSpec(name=GOLD),)
        return losses, None
    if not table.has("losses"):
        table.fault("losses is missing: give a list of objectives, such as hidden-mse")
    if of_labels:
        if named is not None:
            table.fault("teacher is named, but gold asks none: write teacher: none, or add an objective")
        return losses, None
    return losses, named or TEACHER


def _losses(table: Located) -> tuple[LossSpec, ...]:
    given = table.value("losses")
    if isinstance(given, list):
        for place, each in enumerate(given):
            if isinstance(each, str):
                given[place] = {"name": each}
    if given is None:
        return ()
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
    if data == "text":
        for name in ("task", "train_langs", "limit"):
            if table.value(name) is not None:
                table.fault(f"{name} is given, but data is text: take data: task, or leave it out")
        return None
    name = table.text("task")
    if not name:
        return None

    def find() -> TaskSpec:
        spec = find_task(name, tasks)
        check_trainable(spec)
        return spec

    return cast("TaskSpec | None", _tried(table, "task", find))


def _train_languages(table: Located, data: str, languages: Sequence[Language]) -> tuple[Language, ...]:
    if data == "text" or table.value("train_langs") is None:
        return tuple(languages[:1])
    found = [
        _tried(table, "train_langs", lambda spec=spec: find_language(spec))  # type: ignore[misc]
        for spec in table.texts("train_langs")
    ]
    return tuple(dict.fromkeys(each for each in found if each is not None))


def _transfer(
    table: Located, kind: Kind, data: str, languages: Sequence[Language], reading: Reading
) -> tuple[tuple[CorpusSpec, ...], bool]:
    given = table.value("transfer")
    if given is None:
        return (), False
    if data == "text" or kind != "distil":
        table.fault(
            "transfer is given, but only a stage that distils on a task has texts for its teacher to answer"
        )
        return (), False
    if given == CORPORA:
        return (), True
    found: list[CorpusSpec] = []
    for spec in table.texts("transfer"):
        corpora = _tried(
            table,
            "transfer",
            lambda spec=spec: parse_corpora([spec], languages, option="transfer", reading=reading),  # type: ignore[misc]
        )
        found += corpora or ()
    return tuple(found), False


def _settings(
    table: Located, kind: Kind, data: str, teacher: str | None, defaults: Mapping[str, Any]
) -> Settings:
    """The settings of the training, by the names that a recipe has for them."""
    keys = {"task": _TASK, "text": _MLM if kind == "mlm" else _TEXT}[data]
    keys = {name: place for name, place in keys.items() if teacher is None or name not in _UNTAUGHT}
    own = {name: table.value(name) for name in _ALL if table.has(name)}
    for name in [name for name in own if name not in keys]:
        what = f"on {data}" + (" with a teacher" if data == "task" and teacher is not None else "")
        table.fault(f"{name} is nothing that a stage of the kind {kind} {what} can be told: leave it out")
    given = {name: value for name, value in {**defaults, **own}.items() if name in keys and value is not None}
    if "epochs" in own:
        given.pop("steps", None) if "steps" not in own else None
    elif "steps" in own:
        given.pop("epochs", None)
    cls: type[Settings] = FinetuneConfig
    if data == "text":
        cls = MlmConfig if kind == "mlm" else TextConfig
        given = {**_usual_of_text(kind, given), **given}
    try:
        return read_config(cls, _nested(given, keys))
    except ConfigError as error:
        for fault in error.faults:
            table.fault(_in_recipe_terms(fault, keys))
        return FinetuneConfig()


def _usual_of_text(kind: Kind, given: Mapping[str, Any]) -> dict[str, Any]:
    """As ``bistil general`` has it: precision by the machine, a rise in the first tenth of the steps."""
    usual: dict[str, Any] = {"precision": "auto"}
    if kind == "distil":
        usual |= {"learning_rate": LEARNING_RATE, "weight_decay": 0.0}
    steps = given.get("steps")
    if isinstance(steps, int) and steps > 0:
        usual["warmup_steps"] = min(steps // 10, 1000)
    return usual


def _nested(given: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {"training": {}} if "steps" in keys and keys["steps"] != "steps" else {}
    for name, value in given.items():
        *parents, last = keys[name].split(".")
        here = values
        for parent in parents:
            here = here.setdefault(parent, {})
        here[last] = value
    return values


def _in_recipe_terms(fault: str, keys: Mapping[str, str]) -> str:
    for name, place in sorted(keys.items(), key=lambda pair: -len(pair[1])):
        fault = fault.replace(place, name)
    return fault


def _choice(table: Located, name: str, choices: Sequence[str], default: str) -> str:
    table.allow(name)
    return (table.choice(name, choices) if table.has(name) else None) or default


def _tried(table: Located, name: str, find: Callable[[], Any]) -> Any:
    try:
        return find()
    except InputError as error:
        table.fault(f"{name}: {error}")
        return None
