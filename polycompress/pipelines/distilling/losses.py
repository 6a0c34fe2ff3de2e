"""The table of objectives: what a recipe calls them, where they come from, and how they are made for two models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, Final, Literal

from polycompress.distill.capture import check_plain_attention
from polycompress.distill.objective import Objective
from polycompress.distill.objectives.attention import AttentionKL, AttentionMSE
from polycompress.distill.objectives.divergences import Divergence
from polycompress.distill.objectives.dkd import DKD
from polycompress.distill.objectives.gold import Gold
from polycompress.distill.objectives.hidden import HiddenCosine, HiddenMSE, HiddenRelative
from polycompress.distill.objectives.minilm import MiniLM
from polycompress.distill.objectives.minilmv2 import MiniLMv2
from polycompress.distill.objectives.mutual_information import MutualInformation
from polycompress.distill.objectives.sentence import SentenceVectors
from polycompress.distill.objectives.taid import TAID
from polycompress.errors import InputError
from polycompress.pipelines.distilling.loss_makers import exits, mixed_classes, mixed_hidden, unequal
from polycompress.pipelines.distilling.loss_options import (
    AttentionOptions,
    DivergenceOptions,
    DKDOptions,
    ExitOptions,
    InformationOptions,
    MixedClassesOptions,
    MixedHiddenOptions,
    NoOptions,
    RelationOptions,
    TAIDOptions,
    UnequalOptions,
    VectorOptions,
)
from polycompress.pipelines.distilling.loss_specs import LossSpec
from polycompress.pipelines.distilling.pair import Pair
from polycompress.training.config import read_config
from polycompress.training.distilling import Weighted
from polycompress.training.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """An objective in the table."""

    make: Callable[[Pair, Any], Objective]
    """Of two models and the options."""
    paper: str
    options: type = NoOptions
    needs_logits: bool = False
    """Whether it compares answers of a head: of a task, or on text of a language model."""
    data: Literal["any", "text", "task"] = "any"
    """What it can be learnt from."""
    of_words: bool = False
    """Whether it asks several teachers, which may cut texts into other tokens than the student does."""
    by_words: bool = False
    """Whether on text it needs no common tokens: it compares models word by word, or text by text."""
    of_maps: bool = False
    """Whether it looks at attention maps, which must be what queries and keys alone make."""


def _hidden(kind: type[HiddenMSE | HiddenRelative | HiddenCosine]) -> Callable[[Pair, NoOptions], Objective]:
    def make(pair: Pair, options: NoOptions) -> Objective:
        if pair.basis is not None:
            return kind(pair.layer_map.hidden, {other: pair.basis for _, other in pair.layer_map.hidden})
        if len(set(pair.widths)) == 1:
            return kind(pair.layer_map.hidden)
        return kind(pair.layer_map.hidden, "trained", widths=pair.widths)

    return make


def _relations(pair: Pair, options: RelationOptions) -> Objective:
    own, other = pair.last
    chosen = other if options.teacher_layer is None else options.teacher_layer
    return MiniLMv2(own, chosen, options.relation_heads)


def _vectors(pair: Pair, options: VectorOptions) -> Objective:
    own, other = pair.widths if pair.vector_width is None else (pair.widths[0], pair.vector_width)
    return SentenceVectors(
        pair.last[0] + 1,
        pair.last[1] + 1 if pair.vector_width is None else None,
        distance=options.distance,
        widths=None if own == other else (own, other),
    )


OBJECTIVES: Final[Mapping[str, Entry]] = {
    "hidden-mse": Entry(
        make=_hidden(HiddenMSE),
        by_words=True,
        paper="Jiao et al., TinyBERT (2020); Ansell et al., BiStil (2023)",
    ),
    "hidden-relative": Entry(
        make=_hidden(HiddenRelative),
        by_words=True,
        paper="none: hidden-mse, each layer measured by its own spread",
    ),
    "hidden-cosine": Entry(make=_hidden(HiddenCosine), by_words=True, paper="Sanh et al., DistilBERT (2019)"),
    "attention-mse": Entry(
        make=lambda pair, options: AttentionMSE(pair.layer_map.attention, options.normalised),
        options=AttentionOptions,
        of_maps=True,
        paper="Jiao et al., TinyBERT (2020); Ansell et al., BiStil (2023)",
    ),
    "attention-kl": Entry(
        make=lambda pair, options: AttentionKL(pair.layer_map.attention),
        of_maps=True,
        paper="Wang et al., MiniLM (2020)",
    ),
    "minilm": Entry(
        make=lambda pair, options: MiniLM(*pair.last), of_maps=True, paper="Wang et al., MiniLM (2020)"
    ),
    "minilmv2": Entry(make=_relations, options=RelationOptions, paper="Wang et al., MiniLMv2 (2021)"),
    "mi-alpha": Entry(
        make=lambda pair, options: MutualInformation(pair.layer_map.hidden, *pair.widths, **asdict(options)),
        options=InformationOptions,
        paper="He et al., Distiller (2021); Poole et al. (2019)",
    ),
    "sentence-vectors": Entry(
        make=_vectors, options=VectorOptions, by_words=True, paper="Reimers and Gurevych (2020)"
    ),
    "divergence": Entry(
        make=lambda pair, options: Divergence(**asdict(options)),
        options=DivergenceOptions,
        needs_logits=True,
        paper="Hinton et al. (2015), and those that the module names",
    ),
    "dkd": Entry(
        make=lambda pair, options: DKD(**asdict(options)),
        options=DKDOptions,
        needs_logits=True,
        paper="Zhao et al., Decoupled Knowledge Distillation (2022)",
    ),
    "taid": Entry(
        make=lambda pair, options: TAID(pair.steps, **asdict(options)),
        options=TAIDOptions,
        needs_logits=True,
        paper="Shing et al., TAID (2025)",
    ),
    "multi-exit": Entry(
        make=exits,
        options=ExitOptions,
        needs_logits=True,
        data="task",
        paper="after ModularStarEncoder's weights of exits; see the module",
    ),
    "mixed-hidden": Entry(
        make=mixed_hidden,
        options=MixedHiddenOptions,
        of_words=True,
        by_words=True,
        paper="none: several teachers' states, turned into one space by Procrustes' problem (Schönemann, 1966)",
    ),
    "mixed-classes": Entry(
        make=mixed_classes,
        options=MixedClassesOptions,
        needs_logits=True,
        of_words=True,
        paper="Hinton et al. (2015): answers of several models, averaged",
    ),
    "unequal": Entry(
        make=unequal,
        options=UnequalOptions,
        needs_logits=True,
        data="text",
        paper="Hinton et al. (2015), over the pieces that both vocabularies have",
    ),
    "gold": Entry(
        make=lambda pair, options: Gold(),
        needs_logits=True,
        data="task",
        paper="none: the labels themselves",
    ),
}


def is_untaught(spec: LossSpec) -> bool:
    """Whether an objective asks no teacher: labels are enough."""
    return spec.name == "gold" or (
        spec.name == "multi-exit" and spec.options.get("learns", "labels") == "labels"
    )


def check_losses(specs: Sequence[LossSpec]) -> list[str]:
    """What is wrong with objectives as they are asked for: messages, none where nothing is."""
    faults = []
    for spec in specs:
        entry = OBJECTIVES.get(spec.name)
        if entry is None:
            near = get_close_matches(spec.name, OBJECTIVES, n=1)
            guess = f" Did you mean {near[0]}?" if near else ""
            faults.append(f"unknown objective {spec.name!r}.{guess} There are {', '.join(OBJECTIVES)}")
            continue
        if not 0 < spec.weight < float("inf"):
            faults.append(f"the weight of {spec.name} is {spec.weight}: give a number above 0")
        try:
            read_config(entry.options, spec.options, spec.name)
        except ConfigError as error:
            faults += [f"{spec.name}: {fault}" for fault in error.faults]
    return faults


def make_losses(specs: Sequence[LossSpec], pair: Pair) -> tuple[Weighted, ...]:
    """Make objectives for two models.

    Raises:
        InputError: Some are asked for wrongly; every fault is named.
    """
    faults = check_losses(specs)
    if not faults and any(OBJECTIVES[spec.name].of_maps for spec in specs):
        faults = [
            *check_plain_attention(pair.student, "student"),
            *check_plain_attention(pair.teacher, "teacher"),
        ]
    if faults:
        raise InputError(f"Objectives: {'; '.join(faults)}.")
    return tuple(
        Weighted(
            name=spec.name,
            objective=OBJECTIVES[spec.name].make(
                pair, read_config(OBJECTIVES[spec.name].options, spec.options, spec.name)
            ),
            weight=spec.weight,
        )
        for spec in specs
    )
