"""The table of objectives: what a recipe calls them, where they come from, and how they are made for two models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, Final, Literal

import torch
from torch import Tensor

from polycompress.distill.capture import check_plain_attention
from polycompress.distill.exit_heads import check_exits, exit_head
from polycompress.distill.layer_map import LayerMap
from polycompress.distill.objective import Objective
from polycompress.distill.objectives.attention import AttentionKL, AttentionMSE
from polycompress.distill.objectives.divergences import Divergence, Kind, divergence_loss
from polycompress.distill.objectives.dkd import DKD
from polycompress.distill.objectives.gold import Gold
from polycompress.distill.objectives.hidden import HiddenCosine, HiddenMSE
from polycompress.distill.objectives.minilm import MiniLM
from polycompress.distill.objectives.minilmv2 import MiniLMv2
from polycompress.distill.objectives.multi_exit import ExitLoss, MultiExit, label_loss
from polycompress.distill.objectives.multi_teacher import MixedClasses, MixedHidden
from polycompress.distill.objectives.mutual_information import Features, MutualInformation
from polycompress.distill.objectives.sentence import Distance, SentenceVectors
from polycompress.distill.objectives.taid import TAID
from polycompress.distill.objectives.teacher_space import align_teachers
from polycompress.distill.objectives.unequal import UnequalLogits, VocabularyMap
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.errors import InputError
from polycompress.pipelines.distilling.loss_options import (
    ExitOptions,
    MixedClassesOptions,
    MixedHiddenOptions,
    UnequalOptions,
)
from polycompress.pipelines.distilling.loss_specs import LossSpec
from polycompress.training.config import read_config
from polycompress.training.distilling import Weighted
from polycompress.training.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """What objectives are made for."""

    student: Any
    """Configuration."""
    teacher: Any
    layers: tuple[int, ...]
    steps: int
    basis: Tensor | None = None
    """(d_T, d_S) of a student made narrower: its states are in it, so the teacher's are turned into it."""
    vocabularies: VocabularyMap | None = None
    """Which pieces both have, where answers over vocabularies are compared."""
    model: Any = None
    """The student itself, with its head; None where only its configuration is looked at."""
    others: tuple[Any, ...] = ()
    """Configurations of the second and later teachers."""
    samples: Callable[[Sequence[int]], list[Tensor]] | None = None
    """From the number of a hidden state of each teacher to those states, (N, d_t), of the same N tokens or words; None
    where only configurations are looked at."""

    @property
    def layer_map(self) -> LayerMap:
        """Which layers belong together."""
        return LayerMap(self.layers, int(self.teacher.num_hidden_layers))

    @property
    def teachers(self) -> tuple[Any, ...]:
        """Configurations of all teachers."""
        return (self.teacher, *self.others)

    @property
    def last(self) -> tuple[int, int]:
        """The last layers of both."""
        return int(self.student.num_hidden_layers) - 1, int(self.teacher.num_hidden_layers) - 1

    @property
    def widths(self) -> tuple[int, int]:
        """Units of hidden states of both."""
        return int(self.student.hidden_size), int(self.teacher.hidden_size)


@dataclass(frozen=True, kw_only=True, slots=True)
class NoOptions:
    """Of objectives that can be told nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionOptions:
    """Of ``attention-mse``."""

    normalised: bool = True
    """Maps after the softmax (BiStil) instead of scores before it (TinyBERT)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RelationOptions:
    """Of ``minilmv2``."""

    relation_heads: int = 12
    teacher_layer: int | None = None
    """None: the last."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DivergenceOptions:
    """Of ``divergence``; see there."""

    kind: Kind = "forward"
    temperature: float = 1.0
    scale_by_temperature: bool = True
    beta: float = 0.5
    skew: float = 0.1
    head_mass: float = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class DKDOptions:
    """Of ``dkd``; see there."""

    alpha: float = 1.0
    beta: float = 0.5
    temperature: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TAIDOptions:
    """Of ``taid``; see there."""

    t_start: float = 0.4
    t_end: float = 1.0
    alpha: float = 5e-4
    beta: float = 0.99
    adaptive: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class InformationOptions:
    """Of ``mi-alpha``; see there."""

    width: int = 128
    alpha: float = 0.5
    features: Features = "texts"
    learn_baseline: bool = True
    max_samples: int = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class VectorOptions:
    """Of ``sentence-vectors``; see there."""

    distance: Distance = "mse"
    normalise: bool = False


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
    of_maps: bool = False
    """Whether it looks at attention maps, which must be what queries and keys alone make."""


def _hidden(kind: type[HiddenMSE] | type[HiddenCosine]) -> Callable[[Pair, NoOptions], Objective]:
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
    own, other = pair.last
    widths = None if len(set(pair.widths)) == 1 else pair.widths
    return SentenceVectors(
        own + 1, other + 1, distance=options.distance, normalise=options.normalise, widths=widths
    )


def _unequal(pair: Pair, options: UnequalOptions) -> Objective:
    if pair.vocabularies is None:
        raise InputError("unequal: it is not known which pieces the models share; learn it on text.")
    return UnequalLogits(pair.vocabularies, temperature=options.temperature)


def _exits(pair: Pair, options: ExitOptions) -> Objective:
    layers = int(pair.student.num_hidden_layers)
    faults = check_exits(str(pair.student.model_type))
    if options.exits[-1] != layers:
        faults.append(
            f"multi-exit: exits end with {options.exits[-1]}, but the student has {layers} layers: let the last "
            "exit be the model itself"
        )
    if faults:
        raise InputError(f"{'; '.join(faults)}.")
    answers = options.learns == "answers"
    return MultiExit(
        options.exits,
        layers,
        exit_head(pair.model) if pair.model is not None else lambda states: states,
        _of_answers(options.temperature) if answers else label_loss,
        teacher_needs=Needs(logits=answers),
        divergence_weight=options.divergence_weight,
        cosine_weight=options.cosine_weight,
        temperature=options.temperature,
    )


def _of_answers(temperature: float) -> ExitLoss:
    """The divergence of an exit's logits from the teacher's."""

    def loss(logits: Tensor, teacher: Outputs, given: Given) -> Tensor:
        assert teacher.logits is not None
        return divergence_loss(logits, teacher.logits, given.valid, temperature=temperature)

    return loss


def _mixed_hidden(pair: Pair, options: MixedHiddenOptions) -> Objective:
    layers = options.layers or tuple(int(each.num_hidden_layers) for each in pair.teachers)
    _check_counts("mixed-hidden", pair, weights=options.weights, layers=layers)
    widths = [int(each.hidden_size) for each in pair.teachers]
    width = options.width or min(widths)
    if width > min(widths):
        raise InputError(
            f"mixed-hidden: width is {width}, but a teacher has {min(widths)} units: give at most that."
        )
    if pair.samples is None:
        projections = [torch.eye(each, width) for each in widths]
    else:
        projections = align_teachers(pair.samples(layers), width)
        if width == widths[0]:  # the first teacher's own space, which a student made out of it is in
            projections = [each @ projections[0].transpose(0, 1) for each in projections]
    own = options.student_layer
    return MixedHidden(
        int(pair.student.num_hidden_layers) if own is None else own,
        layers,
        projections,
        student_width=int(pair.student.hidden_size),
        weights=options.weights,
    )


def _mixed_classes(pair: Pair, options: MixedClassesOptions) -> Objective:
    _check_counts("mixed-classes", pair, weights=options.weights)
    return MixedClasses(len(pair.teachers), weights=options.weights, temperature=options.temperature)


def _check_counts(name: str, pair: Pair, **given: Sequence[float] | None) -> None:
    """Refuse lists that are not as long as the list of teachers; all are named."""
    teachers = len(pair.teachers)
    faults = [
        f"{field} has {len(values)} entries for {teachers} teachers: give one for each"
        for field, values in given.items()
        if values is not None and len(values) != teachers
    ]
    if faults:
        raise InputError(f"{name}: {'; '.join(faults)}.")


OBJECTIVES: Final[Mapping[str, Entry]] = {
    "hidden-mse": Entry(
        make=_hidden(HiddenMSE), paper="Jiao et al., TinyBERT (2020); Ansell et al., BiStil (2023)"
    ),
    "hidden-cosine": Entry(make=_hidden(HiddenCosine), paper="Sanh et al., DistilBERT (2019)"),
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
    "sentence-vectors": Entry(make=_vectors, options=VectorOptions, paper="Reimers and Gurevych (2020)"),
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
        make=_exits,
        options=ExitOptions,
        needs_logits=True,
        data="task",
        paper="after ModularStarEncoder's weights of exits; see the module",
    ),
    "mixed-hidden": Entry(
        make=_mixed_hidden,
        options=MixedHiddenOptions,
        of_words=True,
        paper="none: several teachers' states, turned into one space by Procrustes' problem (Schönemann, 1966)",
    ),
    "mixed-classes": Entry(
        make=_mixed_classes,
        options=MixedClassesOptions,
        needs_logits=True,
        of_words=True,
        paper="Hinton et al. (2015): answers of several models, averaged",
    ),
    "unequal": Entry(
        make=_unequal,
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
