"""Train a model with experts, once all is found: the half that needs torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from polycompress.modeldir.moe_training_card import render_trained_experts_card
from polycompress.pipelines.distilling.general_run import size_of
from polycompress.pipelines.distilling.text_request import TextRun, begin_run
from polycompress.pipelines.distilling.text_run import run_text
from polycompress.pipelines.experts_training.config import ExpertsConfig
from polycompress.pipelines.experts_training.finding import ExpertsInputs
from polycompress.pipelines.experts_training.learning import ExpertsLearning
from polycompress.training.devices import Devices
from polycompress.training.metrics import Record


def run_experts(
    inputs: ExpertsInputs,
    config: ExpertsConfig,
    out: Path,
    *,
    record: Mapping[str, Any],
    identity: Mapping[str, Any],
    resume: bool,
    progress: Callable[[Record], None] | None,
    tell: Callable[[str, int, int | None], None] | None,
) -> dict[str, Any]:
    """Train, from the beginning or from the newest whole snapshot; the manifest of the trained model.

    Raises:
        PolycompressError: See ``moe_train``.
    """
    text = config.text
    assert text.training.precision != "auto"
    devices = Devices(precision=text.training.precision, parallel=text.parallel, device=text.device)
    run = TextRun(
        losses=config.losses(),
        layers=inputs.layer_map.layers,
        corpora=inputs.corpora,
        held_out=inputs.held_out,
        reading=inputs.reading,
        config=text,
        record=record,
        identity=identity,
        render=render_trained_experts_card,
    )
    with begin_run(out, devices, run, resume_run=resume) as snapshot:
        return run_text(
            run,
            inputs.student,
            inputs.teacher.path,
            out,
            devices,
            snapshot,
            addition=ExpertsLearning(config, inputs.moe.codes, answers=run.answers),
            facts={
                "source": inputs.teacher.record(),
                "sizes": {"before": size_of(inputs.teacher.path)},
                "experts": {"moe": inputs.moe.as_dict()},
            },
            progress=progress,
            tell=tell,
        )
