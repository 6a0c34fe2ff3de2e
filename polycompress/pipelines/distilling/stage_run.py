"""One stage of a recipe, whatever its kind: a run of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from polycompress.pipelines.distilling.config import TextConfig
from polycompress.pipelines.distilling.recipe_keep import root_of
from polycompress.pipelines.distilling.recipe_stages import Stage
from polycompress.pipelines.distilling.recipe_teachers import layers_for
from polycompress.pipelines.distilling.stage_task import TaskStage, run_task_stage
from polycompress.pipelines.distilling.stage_text import distil_on_pairs, distil_on_text
from polycompress.pipelines.distilling.stages_asked import StagesRun
from polycompress.pipelines.finetune import finetune
from polycompress.pipelines.mlm import MlmConfig, mlm
from polycompress.pipelines.tuning.config import FinetuneConfig
from polycompress.pipelines.tuning.inputs import FinetuneRequest
from polycompress.pipelines.tuning.machine import with_precision
from polycompress.pipelines.tuning.source_model import find_source_model
from polycompress.training.run_files import FINAL


def run_stage(run: StagesRun, stage: Stage, student: Path, out: Path) -> None:
    """Carry one stage out.

    Args:
        run: What is asked for; stages before this one are finished.
        stage: Which.
        student: As it begins.
        out: The stage's run.

    Raises:
        PolycompressError: It ended before its time; see ``polycompress.training.loop.train``.
    """
    record = {
        **run.record,
        "source": run.models.teacher.record(),
        "stage": {"number": stage.number, "name": stage.name, "recipe": run.recipe.name},
    }
    if isinstance(stage.settings, MlmConfig):
        _pretrain(run, stage.settings, student, out)
    elif isinstance(stage.settings, TextConfig):
        distil = distil_on_pairs if stage.data == "parallel" else distil_on_text
        distil(run, stage, with_precision(stage.settings), student, out, record)
    elif stage.kind == "tune" or stage.is_plain:
        _tune(run, stage, stage.settings, run.teacher if stage.kind == "tune" else student, out)
    else:
        _distil_on_task(run, stage, stage.settings, student, out, record)


def _distil_on_task(
    run: StagesRun, stage: Stage, config: FinetuneConfig, student: Path, out: Path, record: Mapping[str, Any]
) -> None:
    assert stage.task is not None
    asked = TaskStage(
        request=FinetuneRequest(
            task=stage.task,
            languages=stage.train_languages,
            data=run.recipe.data,
            limit=stage.limit,
            config=config,
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
