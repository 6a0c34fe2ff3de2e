"""Train a model with experts of language families: it learns of a multilingual teacher, on text of all its languages.

Methods: Zheng et al., "Efficiently Democratizing Medical LLMs for 50 Languages via a Mixture of Language Family
Experts" (ICLR 2025), whose forced routing this has, and Liu et al., "DDK" (2024), after which languages that lag behind
get more of the run. Zheng et al. train on the text itself; here a teacher is asked about it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polycompress
from polycompress.corpora import Reading
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.distilling.general_config import LEFT_OUT
from polycompress.pipelines.experts_training.config import ExpertsConfig
from polycompress.pipelines.experts_training.finding import ExpertsInputs, find_inputs
from polycompress.pipelines.experts_training.settling import by_families, by_words
from polycompress.pipelines.tuning.machine import check_packages, with_precision
from polycompress.pipelines.tuning.text import files_of
from polycompress.training.config import read_config
from polycompress.training.run_files import FINAL, check_run

if TYPE_CHECKING:
    from polycompress.training.metrics import Record

logger = logging.getLogger(__name__)

_WITHOUT_EFFECT: Final = ("log_every", "evaluate_every", "snapshots")


@dataclass(frozen=True, kw_only=True, slots=True)
class MoeTrainResult:
    """A finished run."""

    out: Path
    manifest: Mapping[str, Any]

    @property
    def final(self) -> Path:
        """The trained model's directory."""
        return self.out / FINAL

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        told = {name: self.manifest.get(name) for name in ("layers", "sizes", "experts", "distillation")}
        return {"out": str(self.out), "final": str(self.final), **told}


def moe_train(
    model: str | os.PathLike[str],
    *,
    teacher: str | os.PathLike[str],
    corpus: str | Sequence[str],
    out: str | os.PathLike[str],
    settings: Mapping[str, Any],
    held_out: str | Sequence[str] = (),
    reading: Reading | None = None,
    resume: bool = False,
    progress: Callable[[Record], None] | None = None,
    tell: Callable[[str, int, int | None], None] | None = None,
    command: Sequence[str] | None = None,
) -> MoeTrainResult:
    """Train a model with experts to do what its teacher does with text of all its languages.

    Args:
        model: With experts: a directory, or ``owner/name[@revision]`` on the Hugging Face hub.
        teacher: A multilingual model, named likewise or by the word ``demo``. The model's vocabulary may be trimmed out
            of its; where it cuts texts otherwise, each is shown its own tokens, and hidden states are compared word by
            word.
        corpus: ``LANG=PATTERN`` of text files, at least one for each family.
        out: The run's directory: ``config.json``, ``metrics.jsonl``, ``snapshots/``, ``final/``.
        settings: Fields of ``ExpertsConfig``, as nested plain values; at least ``text.training.steps``.
        held_out: ``LANG=PATTERN`` of text to measure on; of every language where languages are reweighed.
        reading: How files become texts.
        resume: Go on from the newest whole snapshot of a run that ended before its time.
        progress: Told each record of ``metrics.jsonl``.
        tell: Told what is being prepared: what, how much more, how much in all.
        command: What to record as the command.

    Returns:
        The run and the manifest of the trained model.

    Raises:
        InputError: Models, text or settings are wrong; every fault is named.
        PolycompressError: The run ended before its time; see ``polycompress.training.loop.train``.
    """
    config = read_config(ExpertsConfig, settings, "The configuration of moe train")
    check_packages("training")
    config = replace(config, text=with_precision(config.text))
    where = Path(out)
    check_run(where, resume=resume)
    patterns, measured = ([each] if isinstance(each, str) else list(each) for each in (corpus, held_out))
    inputs = find_inputs(model, teacher, patterns, measured, reading or Reading(), config, where)
    config = _settled(config, inputs)
    from polycompress.pipelines.experts_training.run import run_experts
    from polycompress.training.runs import is_finished

    identity = identity_of(inputs, config)
    if resume and is_finished(where, identity):
        return MoeTrainResult(out=where, manifest=read_manifest(where / FINAL) or {})
    record = {
        "tool": {"name": "polycompress", "version": polycompress.__version__},
        "command": list(command or ()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": inputs.teacher.short_record(),
        "languages": [{"code": language.code, "name": language.name} for language in inputs.languages],
        "layers": list(inputs.layer_map.layers),
        "start": {
            **inputs.student.short_record(),
            **({} if inputs.shares_tokens else {"left_out": LEFT_OUT}),
        },
    }
    manifest = run_experts(
        inputs, config, where, record=record, identity=identity, resume=resume, progress=progress, tell=tell
    )
    return MoeTrainResult(out=where, manifest=manifest)


def identity_of(inputs: ExpertsInputs, config: ExpertsConfig) -> dict[str, Any]:
    """What decides the weights that come out, for the snapshots: another value of any, another run."""
    settings = asdict(config)
    for name in _WITHOUT_EFFECT:
        settings["text"]["training"].pop(name)
    settings["text"].pop("device")
    settings["routing"].pop("idle_steps")
    return {
        "model": dict(inputs.student.hashes),
        "teacher": dict(inputs.teacher.hashes),
        "languages": [language.code for language in inputs.languages],
        "corpora": files_of(inputs.corpora),
        "held_out": files_of(inputs.held_out),
        "reading": inputs.reading.as_dict(),
        "layers": list(inputs.layer_map.layers),
        **json.loads(json.dumps(settings)),
    }


def _settled(config: ExpertsConfig, inputs: ExpertsInputs) -> ExpertsConfig:
    """What the settings come to with these models and this text."""
    families = {language.code: inputs.moe.languages[language.code] for language in inputs.languages}
    config = by_families(config, families)
    if inputs.shares_tokens:
        return config
    logger.warning("%s: %s", inputs.student.path, LEFT_OUT)
    return by_words(config)
