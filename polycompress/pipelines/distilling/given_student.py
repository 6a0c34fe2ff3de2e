"""A student that is there already: which of a teacher's layers its layers stand for, and what it can learn of it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polycompress.corpora import CorpusSpec
from polycompress.distill.capture import check_needs
from polycompress.distill.layer_map import LayerMap, every_nth
from polycompress.distill.layers import count_layers
from polycompress.distill.objectives.minilmv2 import common_divisors
from polycompress.errors import InputError
from polycompress.modeldir.manifest import read_manifest
from polycompress.pipelines.distilling.config import TextConfig
from polycompress.pipelines.distilling.loss_specs import LossSpec
from polycompress.pipelines.distilling.losses import make_losses
from polycompress.pipelines.distilling.own_texts import shares_tokens
from polycompress.pipelines.distilling.pair import Pair
from polycompress.pipelines.distilling.recipe_outlines import outline
from polycompress.pipelines.tuning.source_model import SourceModel, find_source_model
from polycompress.training.distilling import union
from polycompress.training.errors import ConfigError
from polycompress.training.model import longest_text


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """A student that is there, and how it stands to its teacher."""

    model: SourceModel
    layer_map: LayerMap
    shares_tokens: bool
    """Whether the teacher can be shown its tokens."""


def layers_of_given(teacher: SourceModel, student: SourceModel, asked: Sequence[int]) -> LayerMap:
    """The teacher's layers that a student's stand for: as asked for, as it was made, or the last of each block.

    Args:
        teacher: Found.
        student: Found.
        asked: Layers of the teacher; empty: none are asked for.

    Raises:
        InputError: They do not fit.
    """
    total, own = count_layers(teacher.config), count_layers(student.config)
    if asked and len(asked) != own:
        raise InputError(f"layer_map names {len(asked)} layers for a student of {own}: let both agree.")
    manifest: Mapping[str, Any] = read_manifest(student.path) or {}
    known = asked or manifest.get("layers") or (manifest.get("student") or {}).get("layers")
    if (
        isinstance(known, list | tuple)
        and len(known) == own
        and all(isinstance(layer, int) for layer in known)
    ):
        return LayerMap(tuple(known), total)
    return every_nth(total, own)


def find_given(
    student: str | os.PathLike[str],
    teacher: SourceModel,
    asked: Sequence[int],
    corpora: Sequence[CorpusSpec],
    out: Path,
    faults: list[str],
    *,
    who: str = "--student",
) -> Given | None:
    """Find a student; what is wrong is added to the faults, and None is given.

    Args:
        student: A model directory.
        teacher: Found.
        asked: Layers of the teacher; empty: none are asked for.
        corpora: That both are to see.
        out: What will be written.
        faults: So far.
        who: What the user wrote the student after, for messages.
    """
    found = _tried(lambda: find_source_model(student, out), who, faults)
    if found is None:
        return None
    layer_map = _tried(lambda: layers_of_given(teacher, found, asked), who, faults)
    if layer_map is None:
        return None
    return Given(model=found, layer_map=layer_map, shares_tokens=shares_tokens(found, teacher, corpora))


def check_given(
    given: Given, teacher: SourceModel, losses: Sequence[LossSpec], config: TextConfig, faults: list[str]
) -> None:
    """Add what a student and a teacher lack of what they are asked for to the faults; no weight is loaded.

    Args:
        given: The student.
        teacher: Found.
        losses: That are to be learnt.
        config: Of the training.
        faults: So far.
    """
    student = given.model
    if config.masked and not isinstance(student.tokenizer_config.get("mask_token"), str):
        faults.append(
            f"text is masked, but the tokenizer of {student.path} names no mask_token: show the text as it "
            "is (--no-masking)"
        )
    own, other = (
        _tried(functools.partial(outline, each.config), str(each.path), faults) for each in (student, teacher)
    )
    if own is None or other is None:
        return
    shown = [(student, own), *([(teacher, other)] if given.shares_tokens else [])]
    for source, model in shown:
        limit = longest_text(model)
        if limit is not None and config.max_length > limit:
            faults.append(
                f"max_length is {config.max_length}, but {source.path} has positions for {limit} tokens: give at most "
                f"{limit}"
            )
    faults += learning_faults(own, other, given.layer_map.layers, losses)


def check_taught(
    student: SourceModel, teacher: SourceModel, layers: Sequence[int], losses: Sequence[LossSpec]
) -> None:
    """Refuse what a student cannot learn of a teacher; no weight is loaded.

    Args:
        student: Found.
        teacher: Found.
        layers: Of the teacher, for each of the student's.
        losses: That are to be learnt.

    Raises:
        ConfigError: A model cannot show what is asked for; every fault is named.
    """
    faults = learning_faults(outline(student.config), outline(teacher.config), layers, losses)
    if faults:
        raise ConfigError(faults, f"What {student.source.name} is to learn of {teacher.source.name}")


def learning_faults(own: Any, other: Any, layers: Sequence[int], losses: Sequence[LossSpec]) -> list[str]:
    """What two models cannot show of what objectives ask them for; models without weights are enough.

    Args:
        own: The student.
        other: The teacher.
        layers: Of the teacher, for each of the student's.
        losses: That are to be learnt.
    """
    faults: list[str] = []
    pair = Pair(student=own.config, teacher=other.config, layers=tuple(layers), steps=1)
    made = _tried(lambda: make_losses(losses, pair), "", faults)
    for model, who in ((own, "student"), (other, "teacher")) if made else ():
        faults += check_needs(model, union(getattr(each.objective, f"{who}_needs") for each in made), who)
    for spec in losses:
        if spec.name == "minilmv2":
            faults += relation_faults(int(spec.options["relation_heads"]), own, other)
    return faults


def relation_faults(heads: int, student: Any, teacher: Any) -> list[str]:
    """What is wrong with a number of relation heads (``minilmv2``); models without weights are enough."""
    models = {"student": student, "teacher": teacher}
    widths = {who: int(model.config.hidden_size) for who, model in models.items()}
    unfit = [f"the {who} is {width} wide" for who, width in widths.items() if width % heads]
    advice = (
        f"give one of {common_divisors(widths.values())} (--relation-heads; in recipes an option of minilmv2)"
    )
    return [f"{heads} relation heads do not divide all widths: {', '.join(unfit)}; {advice}"] if unfit else []


def _tried(find: Callable[[], Any], what: str, faults: list[str]) -> Any:
    """What is found, or None and a fault."""
    try:
        return find()
    except ConfigError as error:
        faults += error.faults
    except InputError as error:
        faults.append(f"{what}: {error}".removeprefix(": ").removesuffix("."))
    return None
