"""A stage in which the student learns from text, or from parallel sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from polycompress.evaluation.model_settings import read_prompt
from polycompress.pipelines.distilling.config import TextConfig
from polycompress.pipelines.distilling.parallel_run import run_parallel
from polycompress.pipelines.distilling.recipe_keep import root_of
from polycompress.pipelines.distilling.recipe_settings import effective
from polycompress.pipelines.distilling.recipe_stages import Stage
from polycompress.pipelines.distilling.recipe_teachers import layers_for
from polycompress.pipelines.distilling.stages_asked import StagesRun
from polycompress.pipelines.distilling.teacher_vectors import hash_of_teacher
from polycompress.pipelines.distilling.text_request import TextRun, begin_run
from polycompress.pipelines.distilling.text_run import run_text
from polycompress.pipelines.tuning.source_model import SourceModel, find_source_model
from polycompress.pipelines.tuning.text import files_of, files_of_pairs
from polycompress.training.devices import Devices
from polycompress.training.run_files import FINAL


def distil_on_text(
    run: StagesRun, stage: Stage, config: TextConfig, student: Path, out: Path, record: Mapping[str, Any]
) -> None:
    """Of the text itself, masked or not.

    Args:
        run: What is asked for.
        stage: Which.
        config: Its settings, with a precision.
        student: As it begins.
        out: The stage's run.
        record: For its configuration and the manifest.

    Raises:
        PolycompressError: See ``run_text``.
    """
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
            **({"kept": stage.keep_top or True} if stage.keep else {}),
            "losses": [asdict(each) for each in stage.losses],
            **effective(config),
        },
        keep=root_of(stage.keep, out) if stage.keep else None,
        keep_top=stage.keep_top or 0,
    )
    devices = _devices(config)
    with begin_run(out, devices, asked, resume_run=out.exists()) as snapshot:
        run_text(
            asked,
            found,
            teacher.path,
            out,
            devices,
            snapshot,
            others=[each.path for each in others],
            facts=run.facts(),
            progress=run.progress,
            tell=run.tell,
        )


def distil_on_pairs(
    run: StagesRun, stage: Stage, config: TextConfig, student: Path, out: Path, record: Mapping[str, Any]
) -> None:
    """Of sentences and their translations.

    Args:
        run: What is asked for.
        stage: Which.
        config: Its settings, with a precision.
        student: As it begins.
        out: The stage's run.
        record: For its configuration and the manifest.

    Raises:
        PolycompressError: See ``run_text``.
    """
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
    devices = _devices(config)
    with begin_run(out, devices, asked, resume_run=out.exists()) as snapshot:
        run_parallel(
            asked,
            stage.pairs,
            found,
            teacher,
            out,
            devices,
            snapshot,
            limit=stage.limit,
            root=root_of(stage.keep, out),
            facts=run.facts(),
            progress=run.progress,
            tell=run.tell,
        )


def _devices(config: TextConfig) -> Devices:
    assert config.training.precision != "auto", "it is chosen before"
    return Devices(precision=config.training.precision, parallel=config.parallel, device=config.device)
