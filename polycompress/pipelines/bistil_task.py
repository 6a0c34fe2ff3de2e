"""BiStil, phase 2: a student learns a task in the source language, sparsely, from a teacher that knows it.

Method: Ansell, Ponti, Korhonen and Vulic, "Distilling Efficient Language-Specific Models for Cross-Lingual Transfer"
(Findings of ACL 2023), with the sparse fine-tuning of Ansell et al. (ACL 2022).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import polycompress
from polycompress.errors import InputError
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.evaluation.tasks import find_task
from polycompress.languages import Language
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.distilling.faults import Gathered
from polycompress.pipelines.distilling.loss_specs import LossSpec
from polycompress.pipelines.distilling.text_losses import Attention
from polycompress.pipelines.trimming.loading import asked_languages
from polycompress.pipelines.tuning.config import FinetuneConfig
from polycompress.pipelines.tuning.data import check_languages, check_trainable
from polycompress.pipelines.tuning.inputs import FinetuneRequest
from polycompress.pipelines.tuning.source_model import SourceModel, find_source_model
from polycompress.training.config import read_config
from polycompress.training.errors import ConfigError
from polycompress.training.run_files import FINAL, check_run

if TYPE_CHECKING:
    from polycompress.training.metrics import Record

Tell = Callable[[str, int, int | None], None]
DIFF: Final = "task.diff"


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskConfig:
    """Everything that phase 2 can be told besides the models, the task and the languages."""

    tuning: FinetuneConfig = field(default_factory=lambda: FinetuneConfig(weight_decay=0.0))
    """Of each training: the teacher's, the student's of all weights, and that of the chosen ones."""
    density: float = 0.1
    """Share of the student's weights below the head that may change."""
    teacher_tuning: Literal["full", "sparse"] = "full"
    """How the teacher learns the task, where none is given that knows it."""
    temperature: float = 2.0
    """Of the answers that are matched; not multiplied by its square, as BiStil has it."""
    hidden_weight: float = 1.0
    attention_weight: float = 1.0
    attention: Attention = "maps"
    relation_heads: int = 12
    answer_weight: float = 1.0
    """Of the teacher's answers."""
    gold_weight: float = 0.0
    """Of the labels themselves."""
    freeze_norms: bool = True
    """Whether norms below the head stay as they are, as in the published settings."""
    l1: float = 0.0
    """How strongly weights are drawn back to where they began."""

    def __post_init__(self) -> None:
        """Check the values; raises ``ConfigError`` with all faults."""
        weights = ("hidden_weight", "attention_weight", "answer_weight", "gold_weight", "l1")
        faults = [
            f"{name} is {getattr(self, name)}: give 0 or more"
            for name in weights
            if not 0 <= getattr(self, name) < math.inf
        ]
        if not 0 < self.density <= 1:
            faults.append(f"density is {self.density}: give a share above 0, at most 1")
        if not 0 < self.temperature < math.inf:
            faults.append(f"temperature is {self.temperature}: give a number above 0")
        if self.relation_heads < 1:
            faults.append(f"relation_heads is {self.relation_heads}: give at least 1")
        if self.answer_weight == 0 and self.gold_weight == 0:
            faults.append(
                "answer_weight and gold_weight are both 0, so that the head learns nothing: raise one"
            )
        if self.tuning.weight_decay:
            faults.append(
                f"tuning.weight_decay is {self.tuning.weight_decay}: give 0, for decay would choose what to change"
            )
        if self.tuning.freeze != "none":
            faults.append(
                f"tuning.freeze is {self.tuning.freeze!r}: what may change is chosen by density; give none"
            )
        if self.tuning.class_weights:
            faults.append("tuning.class_weights is True: a teacher's answers have no classes to weigh")
        if faults:
            raise ConfigError(faults, "TaskConfig")

    def losses(self) -> tuple[LossSpec, ...]:
        """The objectives that the settings name."""
        answers = {"kind": "cross-entropy", "temperature": self.temperature, "scale_by_temperature": False}
        relations = {"relation_heads": self.relation_heads}
        maps = {"normalised": self.attention == "maps"}
        attention = (
            LossSpec(name="minilmv2", weight=self.attention_weight, options=relations)
            if self.attention == "relations"
            else LossSpec(name="attention-mse", weight=self.attention_weight, options=maps)
        )
        asked = (
            LossSpec(name="hidden-mse", weight=self.hidden_weight),
            *(() if self.attention == "none" else (attention,)),
            LossSpec(name="divergence", weight=self.answer_weight, options=answers),
            LossSpec(name="gold", weight=self.gold_weight),
        )
        return tuple(spec for spec in asked if spec.weight)


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskAsked:
    """What is asked for, found and checked; nothing is loaded yet."""

    student: SourceModel
    teacher: SourceModel
    knows_the_task: bool
    """Whether the teacher is one that was tuned already."""
    layers: tuple[int, ...]
    """Of the teacher, for each of the student's."""
    request: FinetuneRequest
    config: TaskConfig
    teacher_model: str
    """As it was named."""
    tasks: Path | None

    @property
    def advice(self) -> str:
        """What to do where the teacher has no head of the task."""
        return (
            f"Tune it first: polycompress finetune {self.teacher_model} --task {self.request.task.id} --train-langs "
            f"{self.request.languages[0].code} --out teacher; or give --teacher instead of --task-teacher."
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskResult:
    """A finished run."""

    out: Path
    manifest: Mapping[str, Any]

    @property
    def final(self) -> Path:
        """The tuned student's directory."""
        return self.out / FINAL

    @property
    def diff(self) -> Path:
        """What the task changed."""
        return self.out / DIFF

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        told = {name: self.manifest.get(name) for name in ("finetuning", "sparse")}
        return {"out": str(self.out), "final": str(self.final), "diff": str(self.diff), **told}


def bistil_task(
    student: str | os.PathLike[str],
    *,
    task: str,
    out: str | os.PathLike[str],
    teacher: str | os.PathLike[str] | None = None,
    task_teacher: str | os.PathLike[str] | None = None,
    train_langs: str | Sequence[str] = (),
    data: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    limit: int | None = None,
    tasks: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: Callable[[Record], None] | None = None,
    tell: Tell | None = None,
    command: Sequence[str] | None = None,
) -> TaskResult:
    """Let a student learn a task.

    The teacher is tuned on the task first, unless one is given that knows it. Then the student learns its hidden
    states, its attention and its answers on the same examples, in two trainings: one of all weights, which shows which
    ones move furthest, and one of these alone, from the beginning.

    Args:
        student: What ``bistil_general`` made: its run or a model directory.
        task: Its id, such as ``ner-wikiann``.
        out: The run's directory: ``config.json``, ``teacher/`` (the tuned teacher's run), ``full/`` and ``sparse/``
            (the two trainings), ``final/``, and ``task.diff``, what was changed.
        teacher: The model that the student was made from, to be tuned.
        task_teacher: A model that knows the task already, instead.
        train_langs: Source languages; by default the one that the student was made for.
        data: A data directory; None: the hub.
        settings: Fields of ``TaskConfig``, as nested plain values.
        limit: Only the first so many training examples of each part.
        tasks: A directory of task files of your own.
        resume: Go on where a run ended before its time.
        progress: Told each record of ``metrics.jsonl``.
        tell: Told what is being prepared: what, how much more, how much in all.
        command: What to record as the command.

    Raises:
        InputError: A model, the task, the languages or the settings are wrong; of settings every fault is named.
        PolycompressError: The run ended before its time; see ``polycompress.training.loop.train``.
    """
    where = Path(out)
    asked = _find(
        student, teacher, task_teacher, task, train_langs, data, settings or {}, limit, where, tasks, resume
    )
    from polycompress.pipelines.distilling.task_run import run_task
    from polycompress.training.runs import is_finished

    identity = identity_of(asked)
    if resume and is_finished(where, identity, DIFF):
        return TaskResult(out=where, manifest=read_manifest(where / FINAL) or {})

    record = {
        "tool": {"name": "polycompress", "version": polycompress.__version__},
        "command": list(command or ()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": asked.student.short_record(),
        "teacher": asked.teacher.short_record(),
        "task": asked.request.task.id,
        "languages": [{"code": each.code, "name": each.name} for each in asked.request.languages],
    }
    manifest = run_task(
        asked, where, record=record, identity=identity, resume=resume, progress=progress, tell=tell
    )
    return TaskResult(out=where, manifest=manifest)


def identity_of(asked: TaskAsked) -> dict[str, Any]:
    """What decides the weights that come out; the examples are in the identity of each training."""
    settings = asdict(asked.config)
    for name in ("log_every", "snapshot_every", "device"):
        settings["tuning"].pop(name)
    identity: dict[str, Any] = json.loads(
        json.dumps(
            {
                "model": dict(asked.student.hashes),
                "teacher": dict(asked.teacher.hashes),
                "knows_the_task": asked.knows_the_task,
                "layers": asked.layers,
                "task": asked.request.task.id,
                "languages": [language.code for language in asked.request.languages],
                "limit": asked.request.limit,
                **settings,
            }
        )
    )
    return identity


def _find(
    student: str | os.PathLike[str],
    teacher: str | os.PathLike[str] | None,
    task_teacher: str | os.PathLike[str] | None,
    task: str,
    train_langs: str | Sequence[str],
    data: str | os.PathLike[str] | None,
    settings: Mapping[str, Any],
    limit: int | None,
    out: Path,
    tasks: str | os.PathLike[str] | None,
    resume: bool,
) -> TaskAsked:
    """Everything but weights and examples, or all that is wrong with it at once."""
    faults = Gathered()
    config = faults.tried(lambda: _config(settings, limit))
    spec = faults.tried(lambda: _task(task, Path(tasks) if tasks is not None else None))
    faults.tried(lambda: check_run(out, resume=resume))
    own = faults.tried(lambda: find_source_model(student, out))
    other = faults.tried(lambda: _teacher(teacher if task_teacher is None else task_teacher, out))
    manifest = None if own is None else faults.tried(lambda: read_manifest(own.path) or {})
    languages, layers = None, None
    if manifest is not None or train_langs:
        languages = faults.tried(lambda: _languages(train_langs, manifest or {}))
    place = Path(data) if data is not None else None
    if spec is not None and languages is not None:
        faults.tried(lambda: check_languages(spec, languages, place))
    if own is not None and other is not None and manifest is not None:
        layers = faults.tried(lambda: _layers(own, other, manifest))
    if own is None or other is None or spec is None or languages is None:
        faults.report("The request")
    assert own is not None and other is not None and spec is not None and languages is not None
    found = TaskAsked(
        student=own,
        teacher=other,
        knows_the_task=task_teacher is not None,
        layers=layers or (),
        request=FinetuneRequest(
            task=spec,
            languages=languages,
            data=place,
            limit=limit,
            config=FinetuneConfig() if config is None else config.tuning,
        ),
        config=TaskConfig() if config is None else config,
        teacher_model=other.source.spec,
        tasks=Path(tasks) if tasks is not None else None,
    )
    from polycompress.pipelines.distilling.given_student import check_taught
    from polycompress.pipelines.distilling.teaching import check_pair

    faults.tried(lambda: check_pair(other, own, spec, advice=found.advice if found.knows_the_task else None))
    if config is not None and layers is not None:
        faults.tried(lambda: check_taught(own, other, layers, config.losses()))
    faults.report("The request")
    return found


def _config(settings: Mapping[str, Any], limit: int | None) -> TaskConfig:
    subject = "The configuration of bistil task"
    wrong = [f"limit is {limit}: give at least 1"] if limit is not None and limit < 1 else []
    try:
        config = read_config(TaskConfig, settings, subject)
    except ConfigError as error:
        raise ConfigError([*error.faults, *wrong], subject) from error
    if wrong:
        raise ConfigError(wrong, subject)
    return config


def _task(task: str, tasks: Path | None) -> TaskSpec:
    spec = find_task(task, tasks)
    check_trainable(spec)
    return spec


def _teacher(named: str | os.PathLike[str] | None, out: Path) -> SourceModel:
    if named is None:
        raise InputError(
            "No teacher was given: name the model that the student was made from with --teacher, or one that knows the "
            "task already with --task-teacher."
        )
    return find_source_model(named, out)


def _languages(asked: str | Sequence[str], manifest: Mapping[str, Any]) -> tuple[Language, ...]:
    """The source languages that were named, or the first that the student was made for."""
    if asked:
        return asked_languages(asked)
    known = manifest.get("languages")
    if (
        isinstance(known, list)
        and known
        and isinstance(known[0], dict)
        and isinstance(known[0].get("code"), str)
    ):
        return asked_languages(known[0]["code"])
    raise InputError(
        "The student's manifest does not say which language tasks are learnt in: name it with --train-langs."
    )


def _layers(student: SourceModel, teacher: SourceModel, manifest: Mapping[str, Any]) -> tuple[int, ...]:
    """The layer of the teacher that each of the student's stands for: as it was made, else the last of each block.

    Raises:
        InputError: The teacher has fewer layers than the student was made from.
    """
    from polycompress.distill.layer_map import LayerMap, every_nth
    from polycompress.distill.layers import count_layers

    own, other = count_layers(student.config), count_layers(teacher.config)
    known = manifest.get("layers")
    if isinstance(known, list) and len(known) == own and all(isinstance(layer, int) for layer in known):
        if known and max(known) >= other:
            raise InputError(
                f"{student.source.name} was made from layers {', '.join(map(str, known))} of its teacher, counted from "
                f"0, but {teacher.source.name} has {other} layers: give the model that the student was made from, or "
                "one that was tuned from it."
            )
        return LayerMap(tuple(known), other).layers
    return every_nth(other, own).layers
