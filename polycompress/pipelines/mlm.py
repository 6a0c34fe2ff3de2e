"""Continued pretraining: masked language modelling of encoders, causal language modelling of decoders."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import polycompress
from polycompress.corpora import CorpusSpec, Reading
from polycompress.languages import Language
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.tokenizers.text import corpus_languages
from polycompress.pipelines.trimming.loading import asked_languages
from polycompress.pipelines.tuning.machine import check_packages, with_precision
from polycompress.pipelines.tuning.source_model import SourceModel, find_source_model
from polycompress.pipelines.tuning.text import files_of, find_held_out, find_text
from polycompress.training.batching import Batching
from polycompress.training.config import TrainingConfig, read_config
from polycompress.training.errors import ConfigError
from polycompress.training.masking import Masking
from polycompress.training.run_files import FINAL, check_run
from polycompress.training.shares import Mixing, check_mixing

if TYPE_CHECKING:
    from polycompress.training.metrics import Record

SAMPLED_ABOVE: Final = 65_536
"""Rows of the table above which ``--loss auto`` samples: below, the whole softmax costs less than the layers."""
_WITHOUT_EFFECT: Final = ("log_every", "evaluate_every", "snapshots")
"""Fields that decide nothing about the weights, and may change when a run is taken up again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MlmConfig:
    """Everything that a continued pretraining can be told besides the model and its text."""

    training: TrainingConfig
    batching: Batching = field(default_factory=lambda: Batching(token_budget=2048))
    masking: Masking = field(default_factory=Masking)
    """Of encoders."""
    mixing: Mixing = field(default_factory=Mixing)
    max_length: int = 128
    """Tokens of a text at most; longer ones become several."""
    loss: Literal["auto", "full", "sampled"] = "auto"
    """Softmax over the whole vocabulary, or over the batch's own tokens and shared negatives."""
    negatives: int = 4096
    """Of a sampled loss, drawn anew for each batch."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    device: Literal["auto", "cpu"] = "auto"

    def __post_init__(self) -> None:
        """Check the values; raises ``ConfigError`` with all faults."""
        faults = []
        if self.max_length < 4:
            faults.append(f"max_length is {self.max_length}: give at least 4")
        if self.negatives < 1:
            faults.append(f"negatives is {self.negatives}: give at least 1")
        width = self.batching.packed_length or self.max_length
        if self.batching.token_budget < width:
            faults.append(
                f"batching.token_budget is {self.batching.token_budget}, less than one row of {width} tokens "
                "(max_length): give more, or cut the texts shorter"
            )
        if self.batching.packed_length is not None and self.batching.packed_length < self.max_length:
            faults.append(
                f"batching.packed_length is {self.batching.packed_length}, less than max_length, {self.max_length}"
            )
        if faults:
            raise ConfigError(faults, "MlmConfig")


@dataclass(frozen=True, kw_only=True, slots=True)
class MlmInputs:
    """A model and its text, found and checked, nothing loaded yet."""

    model: SourceModel
    languages: tuple[Language, ...]
    corpora: tuple[CorpusSpec, ...]
    held_out: tuple[CorpusSpec, ...]
    reading: Reading


@dataclass(frozen=True, kw_only=True, slots=True)
class MlmResult:
    """A finished run."""

    out: Path
    manifest: Mapping[str, Any]

    @property
    def final(self) -> Path:
        """The trained model's directory."""
        return self.out / FINAL

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"out": str(self.out), "final": str(self.final), "training": self.manifest.get("training")}


def mlm(
    model: str | os.PathLike[str],
    *,
    corpus: str | Sequence[str],
    out: str | os.PathLike[str],
    settings: Mapping[str, Any],
    langs: str | Sequence[str] = "",
    held_out: str | Sequence[str] = (),
    reading: Reading | None = None,
    resume: bool = False,
    tensorboard: bool = False,
    progress: Callable[[Record], None] | None = None,
    tell: Callable[[str, int, int | None], None] | None = None,
    command: Sequence[str] | None = None,
) -> MlmResult:
    """Go on pretraining a model on text.

    Global generators (fresh heads, dropout) are taken as they are: whoever calls this seeds them.

    Args:
        model: A directory, the word ``demo``, or ``owner/name[@revision]`` on the Hugging Face hub.
        corpus: ``[LANG=]PATTERN`` of text files.
        out: The run's directory: ``config.json``, ``metrics.jsonl``, ``snapshots/``, ``final/``.
        settings: Fields of ``MlmConfig``, as nested plain values; at least ``training.steps``.
        langs: Languages of the text: codes or names, as a list or joined by commas; none: those that ``corpus`` names.
        held_out: ``[LANG=]PATTERN`` of text to measure the loss on, and to choose the best snapshot by.
        reading: How files become texts.
        resume: Go on from the newest whole snapshot of a run that ended before its time.
        tensorboard: Also write event files (extra ``tensorboard``).
        progress: Told each record of ``metrics.jsonl``.
        tell: Told what is being prepared: what, how much more, how much in all.
        command: What to record as the command.

    Returns:
        The run and the manifest of the trained model.

    Raises:
        InputError: The model, the text or the settings are wrong; of settings every fault is named.
        PolycompressError: The run ended before its time; see ``polycompress.training.loop.train``.
    """
    config = read_config(MlmConfig, settings, "The configuration of mlm")
    check_packages("training", tensorboard=tensorboard)
    config = with_precision(config)
    where = Path(out)
    check_run(where, resume=resume)
    inputs = find_inputs(model, langs, corpus, held_out, reading or Reading(), where)
    check_mixing(config.mixing, [language.code for language in inputs.languages])
    from polycompress.pipelines.tuning.mlm_run import run_mlm
    from polycompress.training.runs import is_finished

    identity = identity_of(inputs, config)
    if resume and is_finished(where, identity):
        return MlmResult(out=where, manifest=read_manifest(where / FINAL) or {})

    record = {
        "tool": {"name": "polycompress", "version": polycompress.__version__},
        "command": list(command or ()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": inputs.model.short_record(),
        "languages": [{"code": language.code, "name": language.name} for language in inputs.languages],
    }
    manifest = run_mlm(
        inputs,
        config,
        where,
        record=record,
        identity=identity,
        resume=resume,
        tensorboard=tensorboard,
        progress=progress,
        tell=tell,
    )
    return MlmResult(out=where, manifest=manifest)


def find_inputs(
    model: str | os.PathLike[str],
    langs: str | Sequence[str],
    corpus: str | Sequence[str],
    held_out: str | Sequence[str],
    reading: Reading,
    out: Path,
) -> MlmInputs:
    """Find the model and the text; neither is loaded.

    Raises:
        InputError: Something is missing or wrong.
    """
    specs = [corpus] if isinstance(corpus, str) else list(corpus)
    languages = asked_languages(langs) if langs else corpus_languages(specs)
    corpora = find_text(corpus, languages, reading, asked_with="--langs")
    return MlmInputs(
        model=find_source_model(model, out),
        languages=languages,
        corpora=corpora,
        held_out=find_held_out(held_out, languages, reading, asked_with="--langs"),
        reading=reading,
    )


def identity_of(inputs: MlmInputs, config: MlmConfig) -> dict[str, Any]:
    """What decides the weights that come out, for the snapshots: another value of any, another run."""
    settings = asdict(config)
    for name in _WITHOUT_EFFECT:
        settings["training"].pop(name)
    settings.pop("device")
    return {
        "model": dict(inputs.model.hashes),
        "languages": [language.code for language in inputs.languages],
        "corpora": {
            language.code: [rest for code, *rest in files_of(inputs.corpora) if code == language.code]
            for language in inputs.languages
        },
        "held_out": files_of(inputs.held_out),
        "reading": inputs.reading.as_dict(),
        **json.loads(json.dumps(settings)),
    }
