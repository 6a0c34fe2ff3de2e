"""Find and check what the training of experts begins with: models, languages, text. No weight is loaded."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from polycompress.corpora import CorpusSpec, Reading, parse_corpora
from polycompress.distill.layer_map import LayerMap
from polycompress.errors import InputError
from polycompress.languages import Language
from polycompress.moe.config import MoeConfig
from polycompress.pipelines.distilling.general_config import LEFT_OUT
from polycompress.pipelines.distilling.given_student import Given, check_given, find_given
from polycompress.pipelines.distilling.text_answers import no_head_advice
from polycompress.pipelines.distilling.text_losses import text_losses
from polycompress.pipelines.experts.opening import experts_of
from polycompress.pipelines.experts_training.config import ExpertsConfig
from polycompress.pipelines.experts_training.settling import by_words
from polycompress.pipelines.tokenizers.text import corpus_languages
from polycompress.pipelines.tuning.source_model import SourceModel, find_source_model
from polycompress.training.errors import ConfigError
from polycompress.training.model import named_head

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpertsInputs:
    """Found and checked; nothing is loaded yet."""

    student: SourceModel
    moe: MoeConfig
    teacher: SourceModel
    languages: tuple[Language, ...]
    """That there is text of."""
    corpora: tuple[CorpusSpec, ...]
    held_out: tuple[CorpusSpec, ...]
    reading: Reading
    layer_map: LayerMap
    shares_tokens: bool
    """Whether the teacher can be shown the student's tokens."""


def find_inputs(
    model: str | os.PathLike[str],
    teacher: str | os.PathLike[str],
    corpus: Sequence[str],
    held_out: Sequence[str],
    reading: Reading,
    config: ExpertsConfig,
    out: Path,
) -> ExpertsInputs:
    """Find models and text.

    Args:
        model: With experts.
        teacher: Any model.
        corpus: ``LANG=PATTERN``.
        held_out: The same.
        reading: How files become texts.
        config: The settings.
        out: The run's directory.

    Raises:
        ConfigError: Something is missing or wrong; every fault is named.
    """
    faults: list[str] = []
    source = _tried(lambda: find_source_model(model, out), faults)
    moe = _tried(lambda: experts_of(source.config, source.path), faults) if source is not None else None
    languages = _tried(lambda: corpus_languages(corpus), faults) or ()
    corpora = _tried(lambda: parse_corpora(corpus, languages, reading=reading), faults) or ()
    asked = {"option": "--held-out", "asked_with": "--corpus"}
    measured = _tried(lambda: parse_corpora(held_out, languages, reading=reading, **asked), faults) or ()  # type: ignore[arg-type]
    if moe is not None and languages:
        faults += _language_faults(moe, languages)
    if config.reweigh.every:
        faults += _held_out_faults(languages, measured)
    taught = _tried(lambda: find_source_model(teacher, out), faults)
    given = None
    if moe is not None and taught is not None:
        given = find_given(model, taught, config.layer_map, corpora, out, faults, who="layer_map")
    if given is not None and taught is not None:
        _check_pair(given, taught, config, faults)
    if faults or source is None or moe is None or taught is None or given is None:
        raise ConfigError(faults, f"What {os.fspath(model)} is to be trained with")
    return ExpertsInputs(
        student=source,
        moe=moe,
        teacher=taught,
        languages=languages,
        corpora=corpora,
        held_out=measured,
        reading=reading,
        layer_map=given.layer_map,
        shares_tokens=given.shares_tokens,
    )


def _language_faults(moe: MoeConfig, languages: Sequence[Language]) -> list[str]:
    """Languages that the model does not know, and families that none is of."""
    known = ", ".join(moe.codes)
    faults = [
        f"--corpus {each.code}=...: the model's map of families has no {each.name}: leave it out (the map has {known})"
        for each in languages
        if each.code not in moe.languages
    ]
    present = {moe.languages.get(each.code) for each in languages}
    faults += [
        f"the family {family} has no text, so its experts would learn nothing: give some of "
        f"{' or '.join(moe.family_languages(family)) or 'one of its languages'} with --corpus"
        for family in moe.families
        if family not in present
    ]
    return faults


def _held_out_faults(languages: Sequence[Language], held_out: Sequence[CorpusSpec]) -> list[str]:
    """Languages that cannot be reweighed."""
    measured = {spec.language for spec in held_out}
    return [
        f"reweigh.every is set, but there is no held-out text of {each.name}: give some with --held-out "
        f"{each.code}='FILES'"
        for each in languages
        if each not in measured
    ]


def _check_pair(given: Given, teacher: SourceModel, config: ExpertsConfig, faults: list[str]) -> None:
    """Add what student and teacher lack of what is asked of them to the faults."""
    if config.answers_weight:
        faults += [
            f"answers_weight is {config.answers_weight}, but {each.path} has no language model's head: "
            f"{no_head_advice(str(each.path))}"
            for each in (given.model, teacher)
            if named_head(each.config) is None
        ]
    if given.shares_tokens:
        check_given(given, teacher, text_losses(config), config.text, faults)
        return
    if config.answers_weight:
        faults.append(
            f"answers_weight is {config.answers_weight}, but student and teacher cut texts otherwise, so their answers "
            "are at other places: leave it out"
        )
    elif not (config.hidden_weight or config.vector_weight):
        faults.append(f"hidden_weight and vector_weight are 0, but {LEFT_OUT}: raise one of the two")
    else:
        settled = by_words(config)
        check_given(given, teacher, text_losses(settled), settled.text, faults)


def _tried(find: Callable[[], T], faults: list[str]) -> T | None:
    """What is found, or None and faults."""
    try:
        return find()
    except ConfigError as error:
        faults += error.faults
    except InputError as error:
        faults.append(str(error).removesuffix("."))
    return None
