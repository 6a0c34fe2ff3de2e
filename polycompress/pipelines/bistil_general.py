"""BiStil, phase 1: a bilingual student that does what its multilingual teacher does with text of two languages.

Method: Ansell, Ponti, Korhonen and Vulic, "Distilling Efficient Language-Specific Models for Cross-Lingual Transfer"
(Findings of ACL 2023).
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import polycompress
from polycompress.corpora import CorpusSpec, Reading
from polycompress.distill.layer_map import LayerMap, make_layer_map
from polycompress.errors import InputError, MissingExtraError
from polycompress.languages import Language
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.distilling.config import TextConfig
from polycompress.pipelines.distilling.loss_specs import LossSpec
from polycompress.pipelines.sft import check_diffs
from polycompress.pipelines.trimming.loading import asked_languages
from polycompress.pipelines.tuning.source_model import SourceModel, find_source_model
from polycompress.pipelines.tuning.text import files_of, find_held_out, find_text
from polycompress.training.config import read_config
from polycompress.training.errors import ConfigError
from polycompress.training.run_files import FINAL, check_run

if TYPE_CHECKING:
    from polycompress.training.metrics import Record

logger = logging.getLogger(__name__)

Attention = Literal["maps", "scores", "relations", "none"]
HiddenLoss = Literal["mse", "relative", "cosine"]
TEACHER: Final = "teacher"
START: Final = "start"
BASIS: Final = "basis.safetensors"
MIN_SHARE: Final = 1e-6
"""Relative frequency from which on a token is kept; BiStil's."""
LAYERS: Final = 6
"""Of a student that is made, where nothing else is asked for."""
LEFT_OUT: Final = (
    "its tokenizer is not the teacher's, so each model is shown its own tokens of the text, and hidden states are "
    "compared word by word; attention, which is between tokens, is left out, and so is masking"
)
"""What a student with tokens of its own does not learn."""
_ASKED_WITH: Final = "--source or --target"
_WITHOUT_EFFECT: Final = ("log_every", "evaluate_every", "snapshots")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """The student's shape."""

    layers: int | None = None
    """None: as many as ``layer_map`` names, or six."""
    layer_map: tuple[int, ...] = ()
    """Layers of the teacher, named one by one, instead of ``strategy``."""
    strategy: Literal["every-nth", "bottom"] = "every-nth"
    hidden_size: int | None = None
    """Of hidden states; None: the teacher's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneralConfig:
    """Everything that phase 1 can be told besides the model, the languages and their text."""

    text: TextConfig
    shape: Shape = field(default_factory=Shape)
    hidden_weight: float = 1.0
    hidden_loss: HiddenLoss = "mse"
    """Squared errors (BiStil), each layer's as a share of its variance, or cosines."""
    vector_weight: float = 0.0
    """Of one less the cosine between both models' vectors of a text, means of their last hidden states."""
    attention_weight: float = 1.0
    attention: Attention = "maps"
    """What of attention is matched: maps after the softmax (BiStil), scores before it (TinyBERT), relations between
    queries, keys and values of the last layers (MiniLMv2), or nothing."""
    relation_heads: int = 12
    """Of relations."""
    trim: bool = True
    """Whether the vocabulary is cut to the two languages first; a model that is trimmed already needs no second cut."""
    min_share: float = MIN_SHARE

    def __post_init__(self) -> None:
        """Check the values; raises ``ConfigError`` with all faults."""
        faults = [
            f"{name} is {getattr(self, name)}: give 0 or more"
            for name in ("hidden_weight", "vector_weight", "attention_weight")
            if not 0 <= getattr(self, name) < float("inf")
        ]
        if not self.losses():
            faults.append(
                "hidden_weight, vector_weight and attention_weight leave nothing to learn: raise one"
            )
        if not 0 < self.min_share < 1:
            faults.append(f"min_share is {self.min_share}: give a share between 0 and 1, such as 1e-6")
        if self.relation_heads < 1:
            faults.append(f"relation_heads is {self.relation_heads}: give at least 1")
        if faults:
            raise ConfigError(faults, "GeneralConfig")

    def losses(self) -> tuple[LossSpec, ...]:
        """The objectives that the settings name."""
        maps = {"normalised": self.attention == "maps"}
        relations = {"relation_heads": self.relation_heads}
        attention = {
            "relations": LossSpec(name="minilmv2", weight=self.attention_weight, options=relations),
            "none": LossSpec(name="attention-mse", weight=0.0),
        }
        asked = (
            LossSpec(name=f"hidden-{self.hidden_loss}", weight=self.hidden_weight),
            LossSpec(name="sentence-vectors", weight=self.vector_weight, options={"distance": "cosine"}),
            attention.get(
                self.attention, LossSpec(name="attention-mse", weight=self.attention_weight, options=maps)
            ),
        )
        return tuple(spec for spec in asked if spec.weight)


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneralInputs:
    """Teacher and text, found and checked; nothing is loaded yet."""

    model: SourceModel
    languages: tuple[Language, ...]
    """Source, then target."""
    corpora: tuple[CorpusSpec, ...]
    held_out: tuple[CorpusSpec, ...]
    reading: Reading
    layer_map: LayerMap
    language_sfts: Mapping[str, Path]
    """By code: files of sparse differences."""
    student: SourceModel | None = None
    """That is there already; None: it is made out of the teacher."""
    shares_tokens: bool = True
    """Whether the teacher can be shown its tokens."""


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
    config = read_config(GeneralConfig, settings, "The configuration of bistil general")
    _check_extras()
    config = _with_precision(config)
    where = Path(out)
    check_run(where, resume=resume)
    inputs = find_inputs(
        model, (source, target), corpus, held_out, language_sft, reading or Reading(), config, where, student
    )
    config = _settled(config, inputs)
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


def find_inputs(
    model: str | os.PathLike[str],
    langs: Sequence[str],
    corpus: str | Sequence[str],
    held_out: str | Sequence[str],
    language_sft: str | Sequence[str],
    reading: Reading,
    config: GeneralConfig,
    out: Path,
    student: str | os.PathLike[str] | None = None,
) -> GeneralInputs:
    """Find the teacher, the text and perhaps the student; none is loaded.

    Raises:
        InputError: Something is missing or wrong.
    """
    languages = tuple(dict.fromkeys(language for name in langs for language in asked_languages(name)))
    corpora = find_text(corpus, languages, reading, asked_with=_ASKED_WITH)
    found = find_source_model(model, out)
    language_sfts = _language_sfts(language_sft, languages)
    if language_sfts:
        check_diffs(list(language_sfts.values()), of=found.source)
    measured = find_held_out(held_out, languages, reading, asked_with=_ASKED_WITH)
    given = None
    if student is not None:
        from polycompress.pipelines.distilling.general_student import find_general_student

        given = find_general_student(student, found, config, corpora, out)
    return GeneralInputs(
        model=found,
        languages=languages,
        corpora=corpora,
        held_out=measured,
        reading=reading,
        layer_map=layer_map_of(found, config.shape) if given is None else given.layer_map,
        language_sfts=language_sfts,
        student=None if given is None else given.model,
        shares_tokens=given is None or given.shares_tokens,
    )


def _language_sfts(given: str | Sequence[str], languages: Sequence[Language]) -> dict[str, Path]:
    """``LANG=FILE`` by the language's code.

    Raises:
        InputError: It is written otherwise, there is no such file, or a language is not asked for or comes twice.
    """
    found: dict[str, Path] = {}
    for each in [given] if isinstance(given, str) else given:
        name, equals, file = each.partition("=")
        if not equals or not file:
            raise InputError(f"--language-sft {each!r}: write LANG=FILE, such as sw=swahili.diff")
        (language,) = asked_languages(name)
        if language not in languages or language.code in found:
            why = "comes twice" if language.code in found else "is neither --source nor --target"
            raise InputError(f"--language-sft {each!r}: {language.name} {why}.")
        if not Path(file).is_file():
            raise InputError(
                f"--language-sft {each!r}: there is no such file. Check the name, or make one with: polycompress sft "
                "diff A B --out FILE"
            )
        found[language.code] = Path(file)
    return found


def layer_map_of(model: SourceModel, shape: Shape) -> LayerMap:
    """The layers of a teacher that a shape asks for.

    Raises:
        InputError: They do not fit; or nothing says how many layers the teacher has.
    """
    from polycompress.distill.layers import count_layers

    layers = layers_asked(shape)
    return make_layer_map(count_layers(model.config), layers, shape.strategy, shape.layer_map)


def layers_asked(shape: Shape) -> int:
    """Of a student that is made."""
    return shape.layers if shape.layers is not None else len(shape.layer_map) or LAYERS


def by_words(config: GeneralConfig) -> GeneralConfig:
    """What is left of settings where both models are shown tokens of their own.

    Raises:
        ConfigError: Nothing to learn is.
    """
    return replace(config, text=replace(config.text, masked=False), attention="none")


def identity_of(inputs: GeneralInputs, config: GeneralConfig) -> dict[str, Any]:
    """What decides the weights that come out, for the snapshots: another value of any, another run."""
    settings = asdict(config)
    for name in _WITHOUT_EFFECT:
        settings["text"]["training"].pop(name)
    settings["text"].pop("device")
    return {
        "model": dict(inputs.model.hashes),
        "languages": [language.code for language in inputs.languages],
        "corpora": files_of(inputs.corpora),
        "held_out": files_of(inputs.held_out),
        "reading": inputs.reading.as_dict(),
        "layers": list(inputs.layer_map.layers),
        **({"student": dict(inputs.student.hashes)} if inputs.student is not None else {}),
        "language_sfts": {
            code: hashlib.sha256(path.read_bytes()).hexdigest() for code, path in inputs.language_sfts.items()
        },
        **json.loads(json.dumps(settings)),
    }


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


def _with_precision(config: GeneralConfig) -> GeneralConfig:
    """What ``auto`` means on this machine, so that the run's record says it."""
    from polycompress.evaluation.precision import choose_device, choose_precision

    text = config.text
    precision = choose_precision(text.training.precision, choose_device(text.device))
    return replace(config, text=replace(text, training=replace(text.training, precision=precision)))


def _check_extras() -> None:
    """Refuse what cannot be done before anything is read."""
    for package in ("torch", "transformers", "accelerate"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingExtraError("distillation", "train") from error
