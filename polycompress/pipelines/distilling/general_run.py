"""Trim the teacher, make the student, train it: the half of BiStil's first phase that needs torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from polycompress.modeldir.figures import part_of
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.bistil_general import START, TEACHER, GeneralConfig, GeneralInputs
from polycompress.pipelines.distilling.student_files import write_student
from polycompress.pipelines.distilling.text_run import TextRun, begin_run, run_text
from polycompress.pipelines.trim import trim
from polycompress.pipelines.tuning.source_model import find_source_model
from polycompress.training.devices import Devices
from polycompress.training.metrics import Record


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
    snapshot = begin_run(out, devices, run, resume_run=resume)
    if devices.is_main:
        make_models(inputs, config, out, record, tell)
    devices.wait()
    teacher = out / TEACHER if config.trim else inputs.model.path
    return run_text(
        run,
        find_source_model(out / START, out / "final"),
        teacher,
        out,
        devices,
        snapshot,
        facts={"source": inputs.model.record(), "sizes": {"before": sizes_of(inputs)}, **kept_of(teacher)},
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
        trim(
            inputs.model.path,
            langs=[language.code for language in inputs.languages],
            out=teacher,
            corpus=[f"{spec.language.code}={spec.pattern}" for spec in inputs.corpora],
            field=inputs.reading.field,
            min_share=config.min_share,
            frequencies=False,
            progress=tell,
            command=record["command"],
        )
    if not (out / START).is_dir():
        source = teacher if config.trim else inputs.model.path
        write_student(source, inputs.layer_map, out / START, {"command": list(record["command"])})


def sizes_of(inputs: GeneralInputs) -> dict[str, int]:
    """Parameters and vocabulary of the teacher before anything was cut."""
    from polycompress.pipelines.trimming.loading import open_model

    opened = open_model(inputs.model.path)
    total = 0
    for tensor in opened.checkpoint.tensors.values():
        count = 1
        for length in tensor.shape:
            count *= length
        total += count
    return {"parameters": total, "vocab": opened.vocabulary.size}


def kept_of(teacher: Path) -> dict[str, Any]:
    """What the trimmed teacher's manifest says of its vocabulary: ids of the original that were kept, in order."""
    manifest = read_manifest(teacher) or {}
    return {name: manifest[name] for name in ("keep_ids", "kept_ids", "vocabulary") if name in manifest} | {
        "certificate": part_of(manifest, "certificate") or None
    }
