"""Carry a recipe out: make the models, then stage after stage, each a run of its own that goes on where it was left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from polycompress.evaluation.model_settings import read_prompt
from polycompress.evaluation.precision import choose_device, choose_precision
from polycompress.modeldir.leftovers import remove
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.distilling.config import TextConfig
from polycompress.pipelines.distilling.general_run import kept_of, size_of
from polycompress.pipelines.distilling.parallel_run import run_parallel
from polycompress.pipelines.distilling.recipe import Recipe
from polycompress.pipelines.distilling.recipe_keep import root_of
from polycompress.pipelines.distilling.recipe_learning import TEACHER
from polycompress.pipelines.distilling.recipe_settings import effective, seed_of
from polycompress.pipelines.distilling.recipe_stages import Stage
from polycompress.pipelines.distilling.recipe_teachers import Models, layers_for
from polycompress.pipelines.distilling.stage_task import TaskStage, run_task_stage
from polycompress.pipelines.distilling.stages_writing import Result, write_result
from polycompress.pipelines.distilling.student_files import write_student
from polycompress.pipelines.distilling.teacher_vectors import hash_of_teacher
from polycompress.pipelines.distilling.text_request import TextRun, begin_run
from polycompress.pipelines.distilling.text_run import run_text
from polycompress.pipelines.finetune import finetune
from polycompress.pipelines.mlm import MlmConfig, mlm
from polycompress.pipelines.trim import trim
from polycompress.pipelines.tuning.config import FinetuneConfig
from polycompress.pipelines.tuning.inputs import FinetuneRequest
from polycompress.pipelines.tuning.parts import seeded
from polycompress.pipelines.tuning.source_model import SourceModel, find_source_model
from polycompress.pipelines.tuning.text import files_of, files_of_pairs
from polycompress.training.devices import Devices
from polycompress.training.metrics import Record
from polycompress.training.run_files import CONFIG, FINAL, SNAPSHOTS, read_run
from polycompress.training.runs import open_run
from polycompress.training.snapshots import refuse_difference

Tell = Callable[[str, int, int | None], None]
STAGES: Final = "stages"
START: Final = "start"


@dataclass(frozen=True, kw_only=True, slots=True)
class StagesRun:
    """A recipe and its models, and what all its stages are told."""

    recipe: Recipe
    models: Models
    out: Path
    record: Mapping[str, Any]
    """For every run's configuration and manifest: tool, command, languages, layers."""
    progress: Callable[[Record], None] | None = None
    tell: Tell | None = None
    tuned: dict[str, Path] = field(default_factory=dict)
    """Models of stages that made a teacher."""

    @property
    def teacher(self) -> Path:
        """The recipe's teacher, as stages take it."""
        return self.out / TEACHER if self.recipe.student.trim else self.models.teacher.path

    def teachers_of(self, stage: Stage) -> tuple[Path, ...]:
        """The models that a stage learns of; on parallel sentences they have their own tokens, and need no trimming."""
        known = {
            TEACHER: self.models.teacher.path if stage.data == "parallel" else self.teacher,
            **self.tuned,
            **{name: model.path for name, model in self.models.directories.items()},
        }
        return tuple(known[name] for name in stage.teachers)

    def say(self, what: str) -> None:
        """Tell what is being prepared."""
        if self.tell is not None:
            self.tell(what, 0, None)


def run_stages(run: StagesRun, identity: Mapping[str, Any], *, resume: bool) -> dict[str, Any]:
    """Carry all stages out, from the beginning or from where they were left; the manifest of the last student.

    Args:
        run: What is asked for.
        identity: What decides the result.
        resume: Whether the run may be there already.

    Raises:
        SnapshotMismatchError: The run that is there is of another recipe or model.
        PolycompressError: A stage ended before its time; see ``polycompress.training.loop.train``.
    """
    out, stages = run.out, run.recipe.stages
    devices = Devices(device=stages[0].settings.device)
    if devices.is_main:
        if (out / CONFIG).exists():
            refuse_difference(out, read_run(out)["settings"], identity)
        else:
            open_run(out, run.record, identity, resume=resume)
        make_models(run)
    devices.wait()
    student = run.models.student.path if run.models.student is not None else out / START
    finished: list[tuple[Stage, Path]] = []
    for stage in stages:
        place = out / STAGES / stage.folder
        if not (place / FINAL).is_dir():
            run.say(f"stage {stage.number} of {len(stages)}, {stage.name}")
            with seeded(seed_of(stage.settings) * 1_000_003 + devices.rank):
                _run_stage(run, stage, student, place)
        if devices.is_main and (place / SNAPSHOTS).is_dir():
            remove(place / SNAPSHOTS)
        devices.wait()
        finished.append((stage, place / FINAL))
        if stage.kind == "tune":
            run.tuned[stage.name] = place / FINAL
        else:
            student = place / FINAL
    if devices.is_main and not (out / FINAL).is_dir():
        facts = {
            **run.record,
            "source": run.models.teacher.record(),
            "config": dict(identity),
            **kept_of(run.teacher),
        }
        result = Result(
            name=run.recipe.name, student=student, stages=finished, before=size_of(run.models.teacher.path)
        )
        write_result(result, out / FINAL, facts)
    devices.wait()
    return read_manifest(out / FINAL) or {}


def make_models(run: StagesRun) -> None:
    """Write the trimmed teacher and the student as it begins, where an earlier run did not get to it.

    Raises:
        PolycompressError: One could not be made.
    """
    recipe, models, out = run.recipe, run.models, run.out
    command = list(run.record["command"])
    if recipe.student.trim and not run.teacher.is_dir():
        trim(
            models.teacher.path,
            langs=[language.code for language in recipe.languages],
            out=run.teacher,
            corpus=[f"{spec.language.code}={spec.pattern}" for spec in recipe.corpora],
            field=recipe.reading.field,
            min_share=recipe.student.min_share,
            frequencies=False,
            progress=run.tell,
            command=command,
        )
    if models.student is None and not (out / START).is_dir():
        write_student(run.teacher, models.layer_map, out / START, {"command": command})


def _run_stage(run: StagesRun, stage: Stage, student: Path, out: Path) -> None:
    record = {**run.record, "stage": {"number": stage.number, "name": stage.name, "recipe": run.recipe.name}}
    if isinstance(stage.settings, MlmConfig):
        _pretrain(run, stage.settings, student, out)
    elif isinstance(stage.settings, TextConfig):
        distil = _distil_on_pairs if stage.data == "parallel" else _distil_on_text
        distil(run, stage, stage.settings, student, out, record)
    elif stage.kind == "tune" or stage.is_plain:
        _tune(run, stage, stage.settings, run.teacher if stage.kind == "tune" else student, out)
    else:
        assert stage.task is not None
        asked = TaskStage(
            request=FinetuneRequest(
                task=stage.task,
                languages=stage.train_languages,
                data=run.recipe.data,
                limit=stage.limit,
                config=stage.settings,
            ),
            losses=stage.losses,
            layers=layers_for(stage, run.models),
            transfer=run.recipe.corpora if stage.transfers_corpora else stage.transfer,
            answers=tuple(stage.asks_answers_of(place) for place in range(len(stage.teachers))),
            keep=root_of(stage.keep, out) if stage.keep else None,
            trains_head=stage.trains_head,
        )
        run_task_stage(
            asked,
            find_source_model(student, out / FINAL),
            [find_source_model(path, out / FINAL) for path in run.teachers_of(stage)],
            out,
            record=record,
            progress=run.progress,
            tell=run.tell,
        )


def _pretrain(run: StagesRun, config: MlmConfig, student: Path, out: Path) -> None:
    """Masked language modelling of the student."""
    recipe = run.recipe
    mlm(
        student,
        langs=[language.code for language in recipe.languages],
        corpus=[f"{spec.language.code}={spec.pattern}" for spec in recipe.corpora],
        held_out=[f"{spec.language.code}={spec.pattern}" for spec in recipe.held_out],
        reading=recipe.reading,
        out=out,
        settings=asdict(config),
        resume=out.exists(),
        progress=run.progress,
        tell=run.tell,
        command=run.record["command"],
    )


def _tune(run: StagesRun, stage: Stage, config: FinetuneConfig, model: Path, out: Path) -> None:
    """Fine-tuning on gold labels, of a teacher to be or of the student."""
    assert stage.task is not None
    finetune(
        model,
        task=stage.task.id,
        train_langs=[language.code for language in stage.train_languages],
        out=out,
        data=run.recipe.data,
        settings=asdict(config),
        limit=stage.limit,
        tasks=run.recipe.tasks,
        resume=out.exists(),
        progress=run.progress,
        tell=run.tell,
        command=run.record["command"],
    )


def _distil_on_text(
    run: StagesRun, stage: Stage, config: TextConfig, student: Path, out: Path, record: Mapping[str, Any]
) -> None:
    precision = choose_precision(config.training.precision, choose_device(config.device))
    config = replace(config, training=replace(config.training, precision=precision))
    found: SourceModel = find_source_model(student, out / FINAL)
    teacher, *others = (find_source_model(path, out / FINAL) for path in run.teachers_of(stage))
    recipe, layers = run.recipe, layers_for(stage, run.models)
    asked = TextRun(
        layers=layers,
        losses=stage.losses,
        corpora=recipe.corpora,
        held_out=recipe.held_out,
        reading=recipe.reading,
        config=config,
        record=record,
        identity={
            "model": dict(found.hashes),
            "teacher": dict(teacher.hashes),
            **({"others": [dict(each.hashes) for each in others]} if others else {}),
            "corpora": files_of(recipe.corpora),
            "held_out": files_of(recipe.held_out),
            "reading": recipe.reading.as_dict(),
            "layers": list(layers),
            **({"kept": True} if stage.keep else {}),
            "losses": [asdict(each) for each in stage.losses],
            **effective(config),
        },
        keep=root_of(stage.keep, out) if stage.keep else None,
    )
    devices = Devices(precision=precision, parallel=config.parallel, device=config.device)
    snapshot = begin_run(out, devices, asked, resume_run=out.exists())
    run_text(
        asked,
        found,
        teacher.path,
        out,
        devices,
        snapshot,
        others=[each.path for each in others],
        facts={
            "source": run.models.teacher.record(),
            "sizes": {"before": size_of(run.models.teacher.path)},
            **kept_of(run.teacher),
        },
        progress=run.progress,
        tell=run.tell,
    )


def _distil_on_pairs(
    run: StagesRun, stage: Stage, config: TextConfig, student: Path, out: Path, record: Mapping[str, Any]
) -> None:
    precision = choose_precision(config.training.precision, choose_device(config.device))
    config = replace(config, training=replace(config.training, precision=precision))
    found = find_source_model(student, out / FINAL)
    (teacher,) = (find_source_model(path, out / FINAL) for path in run.teachers_of(stage))
    identity = {
        "model": dict(found.hashes),
        "teacher": hash_of_teacher(teacher),
        "prompt": read_prompt(found.path),
        "pairs": files_of_pairs(stage.pairs),
        "limit": stage.limit,
        "losses": [asdict(each) for each in stage.losses],
        **effective(config),
    }
    asked = TextRun(
        layers=run.models.layer_map.layers,
        losses=stage.losses,
        corpora=(),
        held_out=(),
        reading=run.recipe.reading,
        config=config,
        record=record,
        identity=identity,
    )
    devices = Devices(precision=precision, parallel=config.parallel, device=config.device)
    run_parallel(
        asked,
        stage.pairs,
        found,
        teacher,
        out,
        devices,
        begin_run(out, devices, asked, resume_run=out.exists()),
        limit=stage.limit,
        root=root_of(stage.keep, out),
        facts={
            "source": run.models.teacher.record(),
            "sizes": {"before": size_of(run.models.teacher.path)},
            **kept_of(run.teacher),
        },
        progress=run.progress,
        tell=run.tell,
    )
