"""Distillation by a recipe: any objectives, any teachers, any stages."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polycompress
from polycompress.errors import InputError
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.distilling.recipe import (
    Findings,
    Recipe,
    find_recipe,
    given_fields,
    read_recipe,
)
from polycompress.pipelines.distilling.recipe_checks import check_examples
from polycompress.pipelines.distilling.recipe_models import find_models
from polycompress.pipelines.distilling.recipe_settings import effective
from polycompress.pipelines.distilling.recipe_stages import Stage
from polycompress.pipelines.distilling.recipe_teachers import Models
from polycompress.pipelines.distilling.teacher_vectors import hash_of_teacher
from polycompress.pipelines.tuning.text import check_texts, files_of, files_of_pairs
from polycompress.training.run_files import FINAL, check_run

if TYPE_CHECKING:
    from polycompress.training.metrics import Record

logger = logging.getLogger(__name__)

Tell = Callable[[str, int, int | None], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class DistilPlan:
    """What will be done."""

    recipe: Recipe
    models: Models
    out: Path | None

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``, and for the table."""
        recipe, models = self.recipe, self.models
        return {
            "recipe": recipe.name,
            "teacher": models.teacher.source.name,
            "student": None if models.student is None else models.student.source.name,
            "layers": list(models.layer_map.layers),
            "teacher_layers": models.layer_map.teacher_layers,
            "trim": recipe.student.trim,
            "languages": [language.code for language in recipe.languages],
            "stages": [_stage_as_dict(stage, recipe) for stage in recipe.stages],
            "out": None if self.out is None else str(self.out),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class DistilResult:
    """A finished run, or of a dry run the plan alone."""

    plan: DistilPlan
    manifest: Mapping[str, Any] | None

    @property
    def final(self) -> Path:
        """The last student's directory."""
        assert self.plan.out is not None
        return self.plan.out / FINAL

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        plan = self.plan.as_dict()
        if self.manifest is None:
            return {**plan, "final": None}
        told = {name: self.manifest.get(name) for name in ("stages", "sizes")}
        return {**plan, **told, "final": str(self.final)}


def distil(
    config: str | os.PathLike[str],
    *,
    teacher: str | None = None,
    student: str | None = None,
    source: str | None = None,
    target: str | None = None,
    corpus: Sequence[str] = (),
    held_out: Sequence[str] = (),
    out: str | os.PathLike[str] | None = None,
    settings: Sequence[str] = (),
    data: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
    resume: bool = False,
    progress: Callable[[Record], None] | None = None,
    tell: Tell | None = None,
    command: Sequence[str] | None = None,
) -> DistilResult:
    """Distil a student in the stages of a recipe.

    Args:
        config: A YAML file, or the name of a recipe of ``eval/recipes/``, such as ``ernie-tiny``.
        teacher: A model, instead of the file's.
        student: A model that the student begins as, instead of what the file says of it.
        source: The language that tasks are learnt in, instead of the file's.
        target: Languages that the student is for, joined by commas, instead of the file's.
        corpus: Texts as ``[LANG=]PATTERN``, instead of the file's.
        held_out: Texts that show how training goes, likewise.
        out: The run's directory: ``config.json``, ``teacher/`` (trimmed), ``start/`` (the student before the first
            stage), ``stages/1-NAME/`` and so on, each a run of its own, and ``final/``, the last student.
        settings: ``FIELD=VALUE``, over all of these.
        data: A data directory of tasks, instead of the file's.
        dry_run: Check everything and stop; nothing is written.
        resume: Go on where a run ended before its time; finished stages are left as they are.
        progress: Told each record of each stage's ``metrics.jsonl``.
        tell: Told what is being prepared: what, how much more, how much in all.
        command: What to record as the command.

    Raises:
        ConfigError: The recipe is wrong; every fault is named with its line.
        InputError: It cannot be read, or the run's directory cannot be used.
        PolycompressError: A stage ended before its time; see ``polycompress.training.loop.train``.
    """
    where = Path(out) if out is not None else None
    if not dry_run:
        if where is None:
            raise InputError("no run directory was given; name one with --out, or plan only with --dry-run")
        check_run(where, resume=resume)
    given = given_fields(
        teacher=teacher, student=student, source=source, target=target, corpus=corpus, held_out=held_out
    )
    plan = make_plan(find_recipe(os.fspath(config)), settings, data, where, given)
    if dry_run or where is None:
        return DistilResult(plan=plan, manifest=None)
    from polycompress.pipelines.distilling.stages import run_stages
    from polycompress.pipelines.distilling.stages_asked import StagesRun

    recipe = plan.recipe
    record = {
        "tool": {"name": "polycompress", "version": polycompress.__version__},
        "command": list(command or ()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "languages": [{"code": language.code, "name": language.name} for language in recipe.languages],
        "layers": list(plan.models.layer_map.layers),
    }
    run = StagesRun(recipe=recipe, models=plan.models, out=where, record=record, progress=progress, tell=tell)
    is_finished = (where / FINAL).is_dir()
    run_stages(run, identity_of(plan), resume=resume)
    if is_finished:
        logger.warning("%s: the run is finished; nothing is left to do", where)
    return DistilResult(plan=plan, manifest=read_manifest(where / FINAL) or {})


def make_plan(
    config: Path,
    settings: Sequence[str] = (),
    data: str | os.PathLike[str] | None = None,
    out: Path | None = None,
    given: Mapping[str, tuple[Any, str]] | None = None,
) -> DistilPlan:
    """Read a recipe, find its models, and check both; no weight is loaded.

    Raises:
        ConfigError: With every fault and its line.
        InputError: The file cannot be read.
    """
    findings = read_recipe(config, settings, Path(data) if data is not None else None, given)
    check_examples(findings.recipe.stages, findings.recipe.data)
    findings.table.tried("corpora", lambda: check_texts(findings.recipe.corpora))
    models = _models(findings, out)
    findings.report()
    assert models is not None
    return DistilPlan(recipe=findings.recipe, models=models, out=out)


def identity_of(plan: DistilPlan) -> dict[str, Any]:
    """What decides the weights that come out: another value of any, another run."""
    recipe, models = plan.recipe, plan.models
    stages = {
        stage.folder: {
            **_stage_as_dict(stage, recipe),
            "losses": [asdict(each) for each in stage.losses],
            "transfer": "corpora" if stage.transfers_corpora else files_of(stage.transfer),
            **({"kept": stage.keep_top or True} if stage.keep and stage.data != "parallel" else {}),
            **(_of_pairs(stage, models) if stage.pairs else {}),
            "settings": effective(stage.settings),
        }
        for stage in recipe.stages
    }
    directories = {name: dict(model.hashes) for name, model in models.directories.items()}
    identity: dict[str, Any] = json.loads(
        json.dumps(
            {
                "teacher": dict(models.teacher.hashes),
                "student": None if models.student is None else dict(models.student.hashes),
                "layers": models.layer_map.layers,
                "trim": recipe.student.trim,
                "min_share": recipe.student.min_share,
                "languages": [language.code for language in recipe.languages],
                "corpora": files_of(recipe.corpora),
                "held_out": files_of(recipe.held_out),
                "reading": recipe.reading.as_dict(),
                "stages": stages,
                **({"directories": directories} if directories else {}),
            }
        )
    )
    return identity


def _of_pairs(stage: Stage, models: Models) -> dict[str, Any]:
    """What decides more on parallel sentences: the files of a teacher that say how vectors are made, too."""
    teacher = models.source_of(stage.teacher or "")
    return {"pairs": files_of_pairs(stage.pairs), "vectors": hash_of_teacher(teacher)}


def _models(findings: Findings, out: Path | None) -> Models | None:
    """The models; one that would have to be fetched first only where all else is right."""
    teacher = findings.recipe.teacher
    if findings.faults and teacher != "demo" and not (teacher and Path(teacher).is_dir()):
        return None
    return find_models(findings, out or Path(os.devnull))  # where no model can lie


def _stage_as_dict(stage: Stage, recipe: Recipe) -> dict[str, Any]:
    return {
        "name": stage.name,
        "kind": stage.kind,
        "data": stage.data,
        "task": stage.task.id if stage.task is not None else None,
        "languages": [
            language.code
            for language in (stage.train_languages if stage.data == "task" else recipe.languages)
        ],
        "teacher": stage.taught_by,
        "losses": {each.name: each.weight for each in stage.losses},
        "transfer": stage.has_transfer,
        "limit": stage.limit,
        "drops_head": _drops_head(stage, recipe),
    }


def _drops_head(stage: Stage, recipe: Recipe) -> bool:
    """Whether the student comes with a head that this stage has no place for."""
    before = [each for each in recipe.stages[: stage.number - 1] if each.kind != "tune"]
    if stage.kind == "tune" or not before:
        return False
    last = before[-1]
    if last.trains_language_head:
        return not stage.trains_language_head
    return last.trains_head and not (stage.trains_head and stage.task == last.task)
