"""BiStil, phase 1: a bilingual student that does what its multilingual teacher does with text of two languages.

Method: Ansell, Ponti, Korhonen and Vulic, "Distilling Efficient Language-Specific Models for Cross-Lingual Transfer"
(Findings of ACL 2023).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polycompress
from polycompress.corpora import Reading
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.distilling.faults import Gathered
from polycompress.pipelines.distilling.general_config import (
    LEFT_OUT,
    GeneralConfig,
    Shape,
    by_words,
    layers_asked,
)
from polycompress.pipelines.distilling.general_inputs import GeneralInputs, find_inputs, identity_of
from polycompress.pipelines.tuning.machine import check_packages, with_precision
from polycompress.training.config import read_config
from polycompress.training.errors import ConfigError
from polycompress.training.run_files import FINAL, check_run
from polycompress.training.shares import check_mixing

if TYPE_CHECKING:
    from polycompress.training.metrics import Record

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneralResult:
    """A finished run."""

    out: Path
    manifest: Mapping[str, Any]

    @property
    def final(self) -> Path:
        """The student's directory."""
        return self.out / FINAL

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        told = {name: self.manifest.get(name) for name in ("layers", "sizes", "distillation")}
        return {"out": str(self.out), "final": str(self.final), **told}


def bistil_general(
    model: str | os.PathLike[str],
    *,
    source: str,
    target: str,
    corpus: str | Sequence[str],
    out: str | os.PathLike[str],
    settings: Mapping[str, Any],
    student: str | os.PathLike[str] | None = None,
    held_out: str | Sequence[str] = (),
    language_sft: str | Sequence[str] = (),
    reading: Reading | None = None,
    resume: bool = False,
    progress: Callable[[Record], None] | None = None,
    tell: Callable[[str, int, int | None], None] | None = None,
    command: Sequence[str] | None = None,
) -> GeneralResult:
    """Distil a bilingual student on unlabelled text.

    The vocabulary is cut to what the text of the two languages uses (a token stays from a relative frequency of
    ``min_share`` in either on); the student begins with some of the teacher's layers, and learns the teacher's hidden
    states and attention on the same text.

    Or it begins as a model that is there; then nothing is trimmed. Where that model cuts texts otherwise than the
    teacher, each is shown its own tokens, unmasked: hidden states are compared word by word, and attention, which is
    between tokens, not at all.

    Args:
        model: The teacher: a directory, the word ``demo``, or ``owner/name[@revision]`` on the Hugging Face hub.
        source: The language that tasks will be learnt in.
        target: The language that they are wanted in.
        corpus: ``[LANG=]PATTERN`` of text files.
        out: The run's directory: ``config.json``, ``metrics.jsonl``, ``teacher/`` (trimmed), ``start/`` (the student
            before training), ``snapshots/``, ``final/``.
        settings: Fields of ``GeneralConfig``, as nested plain values; at least ``text.training.steps``.
        student: The student as it begins, as ``model`` is named; None: it is made out of the teacher.
        held_out: ``[LANG=]PATTERN`` of text to measure the loss on.
        language_sft: ``LANG=FILE`` of sparse differences that adapt the model to a language: the teacher of that
            language's text is the model with its difference added.
        reading: How files become texts.
        resume: Go on from the newest whole snapshot of a run that ended before its time.
        progress: Told each record of ``metrics.jsonl``.
        tell: Told what is being prepared: what, how much more, how much in all.
        command: What to record as the command.

    Returns:
        The run and the manifest of the student.

    Raises:
        InputError: The model, the text or the settings are wrong; of settings every fault is named.
        PolycompressError: The run ended before its time; see ``polycompress.training.loop.train``.
    """
    check_packages("distillation")
    where, faults = Path(out), Gathered()
    asked = faults.tried(lambda: read_config(GeneralConfig, settings, "The configuration of bistil general"))
    faults.tried(lambda: check_run(where, resume=resume))
    inputs = find_inputs(
        model,
        (source, target),
        corpus,
        held_out,
        language_sft,
        reading or Reading(),
        asked,
        _shape(settings) if asked is None else asked.shape,
        where,
        student,
        faults,
    )
    if asked is not None and inputs is not None:
        faults.tried(lambda: check_mixing(asked.text.mixing, [each.code for each in inputs.languages]))
    faults.report("The request")
    assert asked is not None and inputs is not None, "or there is a fault"
    config = _settled(replace(asked, text=with_precision(asked.text)), inputs)
    from polycompress.pipelines.distilling.general_run import run_general
    from polycompress.training.runs import is_finished

    identity = identity_of(inputs, config)
    if resume and is_finished(where, identity):
        return GeneralResult(out=where, manifest=read_manifest(where / FINAL) or {})

    record = {
        "tool": {"name": "polycompress", "version": polycompress.__version__},
        "command": list(command or ()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": inputs.model.short_record(),
        "languages": [{"code": language.code, "name": language.name} for language in inputs.languages],
        "layers": list(inputs.layer_map.layers),
        **_start_of(inputs),
    }
    manifest = run_general(
        inputs,
        config,
        where,
        record=record,
        identity=identity,
        resume=resume,
        progress=progress,
        tell=tell,
    )
    return GeneralResult(out=where, manifest=manifest)


def _shape(settings: Mapping[str, Any]) -> Shape | None:
    """Of settings that are wrong, if it is right itself."""
    given = settings.get("shape", {})
    try:
        return read_config(Shape, given) if isinstance(given, Mapping) else None
    except ConfigError:
        return None


def _settled(config: GeneralConfig, inputs: GeneralInputs) -> GeneralConfig:
    """What the settings come to with these models."""
    if inputs.student is None:
        return replace(config, shape=replace(config.shape, layers=layers_asked(config.shape)))
    if inputs.shares_tokens:
        return replace(config, trim=False)
    logger.warning("%s: %s", inputs.student.path, LEFT_OUT)
    return replace(by_words(config), trim=False)


def _start_of(inputs: GeneralInputs) -> dict[str, Any]:
    """For the record, of a student that is there already."""
    if inputs.student is None:
        return {}
    told = {} if inputs.shares_tokens else {"left_out": LEFT_OUT}
    return {"start": {**inputs.student.short_record(), **told}}
