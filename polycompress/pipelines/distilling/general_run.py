"""Trim the teacher, make the student, train it: the half of BiStil's first phase that needs torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from polycompress.modeldir.figures import part_of
from polycompress.modeldir.leftovers import remove
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.distilling.general_config import GeneralConfig
from polycompress.pipelines.distilling.general_inputs import GeneralInputs
from polycompress.pipelines.distilling.narrow_start import read_basis, write_narrow_student
from polycompress.pipelines.distilling.student_files import write_student
from polycompress.pipelines.distilling.text_request import TextRun, begin_run
from polycompress.pipelines.distilling.text_run import run_text
from polycompress.pipelines.sft import apply_sft
from polycompress.pipelines.trim import trim
from polycompress.pipelines.trimming.loading import open_model
from polycompress.pipelines.tuning.source_model import find_source_model
from polycompress.training.devices import Devices
from polycompress.training.metrics import Record

TEACHER: Final = "teacher"
START: Final = "start"
BASIS: Final = "basis.safetensors"


def run_general(
    inputs: GeneralInputs,
    config: GeneralConfig,
    out: Path,
    *,
    record: Mapping[str, Any],
    identity: Mapping[str, Any],
    resume: bool,
    progress: Callable[[Record], None] | None,
    tell: Callable[[str, int, int | None], None] | None,
) -> dict[str, Any]:
    """Train, from the beginning or from the newest whole snapshot; the manifest of the student.

    Raises:
        PolycompressError: See ``bistil_general``.
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
    )
    with begin_run(out, devices, run, resume_run=resume) as snapshot:
        if devices.is_main:
            make_models(inputs, config, out, record, tell)
        devices.wait()
        teacher = out / TEACHER if config.trim else inputs.model.path
        given = inputs.student
        return run_text(
            run,
            given if given is not None else find_source_model(out / START, out / "final"),
            teacher,
            out,
            devices,
            snapshot,
            adapted={code: out / f"{TEACHER}-{code}" for code in inputs.language_sfts},
            basis=read_basis(out / BASIS) if config.shape.hidden_size is not None else None,
            facts={
                "source": inputs.model.record(),
                "sizes": {"before": size_of(inputs.model.path)},
                **kept_of(teacher if given is None else given.path),
            },
            progress=progress,
            tell=tell,
        )


def make_models(
    inputs: GeneralInputs,
    config: GeneralConfig,
    out: Path,
    record: Mapping[str, Any],
    tell: Callable[[str, int, int | None], None] | None,
) -> None:
    """Write the trimmed teacher and the student as it begins, where an earlier run did not get to it.

    Raises:
        PolycompressError: One could not be made.
    """
    teacher = out / TEACHER
    if config.trim and not teacher.is_dir():
        _trim(inputs.model.path, inputs, config, teacher, record, tell)
    for code, file in inputs.language_sfts.items():
        _adapt(code, file, inputs, config, out, record, tell)
    if inputs.student is not None or (out / START).is_dir():
        return
    source = teacher if config.trim else inputs.model.path
    made_by = {"command": list(record["command"])}
    if config.shape.hidden_size is None:
        write_student(source, inputs.layer_map, out / START, made_by)
        return
    if tell is not None:
        tell("making the student narrower", 0, None)
    write_narrow_student(
        source,
        inputs.layer_map,
        config.shape.hidden_size,
        inputs.corpora,
        out / START,
        out / BASIS,
        max_length=config.text.max_length,
        seed=config.text.training.seed,
        record=made_by,
    )


def _trim(
    model: Path,
    inputs: GeneralInputs,
    config: GeneralConfig,
    out: Path,
    record: Mapping[str, Any],
    tell: Callable[[str, int, int | None], None] | None,
) -> None:
    """By BiStil's rule; what is kept depends on tokenizer and text alone."""
    trim(
        model,
        langs=[language.code for language in inputs.languages],
        out=out,
        corpus=[f"{spec.language.code}={spec.pattern}" for spec in inputs.corpora],
        field=inputs.reading.field,
        min_share=config.min_share,
        frequencies=False,
        progress=tell,
        command=record["command"],
    )


def _adapt(
    code: str,
    file: Path,
    inputs: GeneralInputs,
    config: GeneralConfig,
    out: Path,
    record: Mapping[str, Any],
    tell: Callable[[str, int, int | None], None] | None,
) -> None:
    """The teacher of one language: the model with its difference added, trimmed as the other is.

    A copy of its own instead of adding and taking away before each batch, which would drift.
    """
    place = out / f"{TEACHER}-{code}"
    whole = out / f"whole-{code}"
    if place.is_dir():
        remove(whole)  # of a run that was killed when the trimmed one was there
        return
    if not config.trim:
        apply_sft([file], to=inputs.model.path, out=place, command=record["command"], tell=tell)
        return
    apply_sft([file], to=inputs.model.path, out=whole, overwrite=True, command=record["command"], tell=tell)
    _trim(whole, inputs, config, place, record, tell)
    remove(whole)


def size_of(model: Path) -> dict[str, int]:
    """Parameters and vocabulary of a model directory."""
    opened = open_model(model)
    tensors = opened.checkpoint.tensors.values()
    return {
        "parameters": sum(math.prod(info.shape) for info in tensors),
        "vocab": opened.vocabulary.size,
    }


def kept_of(teacher: Path) -> dict[str, Any]:
    """What the trimmed teacher's manifest says of its vocabulary: ids of the original that were kept, in order."""
    manifest = read_manifest(teacher) or {}
    return {name: manifest[name] for name in ("keep_ids", "kept_ids", "vocabulary") if name in manifest} | {
        "certificate": part_of(manifest, "certificate") or None
    }
