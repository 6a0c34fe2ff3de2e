"""The settings of a fine-tuning, and what follows from them and from the size of the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from polycompress.errors import InputError
from polycompress.evaluation.records import Kind
from polycompress.training.batching import Batching, bucket
from polycompress.training.config import OptimiserConfig, ScheduleConfig, SnapshotConfig, TrainingConfig
from polycompress.training.errors import ConfigError
from polycompress.training.parameter_groups import Freeze

DEV_SCORE: Final = "dev_score"
"""The metric by which the best state is chosen."""
TRAINED_KINDS: Final[tuple[Kind, ...]] = (
    "pair-classification",
    "text-classification",
    "token-classification",
    "question-answering",
)
_EPOCHS: Final = ((1_000, 10.0), (6_000, 4.0), (15_000, 3.0))
"""Epochs for fewer examples than this; ``_EPOCHS_OF_MANY`` for more."""
_EPOCHS_OF_MANY: Final = 2.0
_TEXTS: Final = 32
_TEXTS_OF_QUESTIONS: Final = 16
_HEAD_FACTOR: Final = 5.0
_RATE: Final = 1e-4
_WIDTH: Final = 384
_LARGEST_RATE: Final = 3e-4
_LARGEST_WINDOW: Final = 64
_LOOKS_AT_LEAST: Final = 8
"""Evaluations in a run, where that means no more often than every so many steps."""
_STEPS_BETWEEN_LOOKS: Final = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneConfig:
    """Everything that a fine-tuning can be told besides the model, the task and the languages."""

    epochs: float | None = None
    """How often the training examples are read; None: by their number, unless ``steps`` says."""
    steps: int | None = None
    """Of the optimiser."""
    learning_rate: float | None = None
    """At its peak; None: 1e-4 for an encoder of 384 units, in inverse proportion to that for others."""
    head_learning_rate: float | None = None
    """Of what is not in the encoder; None: five times the other, since a new head begins at random."""
    warmup_share: float = 0.1
    """Of the steps, in which the rate climbs."""
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    batch_texts: int | None = None
    """Texts of average length in a batch; None: 32, or 16 windows of a context."""
    batch_tokens: int | None = None
    """Rows times width of a batch at most; None: as ``batch_texts`` says."""
    max_length: int | None = None
    """Tokens of a row at most; None: 256, or 384 of a context, where the model has positions for as many."""
    stride: int | None = None
    """Tokens that neighbouring windows of what is longer share; None: a quarter of a window."""
    freeze: str = "none"
    """``none``, ``embeddings``, or ``embeddings+N`` for the first N layers as well."""
    class_weights: bool = False
    """Whether rare classes count more."""
    patience: int = 4
    """Evaluations without a better one after which the run ends; 0: it goes on to the last step."""
    evaluate_every: int | None = None
    """Steps between evaluations; None: once an epoch, more often where there are few epochs."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """``auto``: bf16 where the processor computes in it."""
    seed: int = 0
    log_every: int = 10
    snapshot_every: int = 500
    """Steps between snapshots to go on from; every evaluation that is the best so far makes one besides."""
    device: Literal["auto", "cpu"] = "auto"

    def __post_init__(self) -> None:
        """Check the values; raises ``ConfigError`` with all faults."""
        faults = [
            f"{name} is {value!r}: give at least {least}"
            for name, value, least in (
                ("steps", self.steps, 1),
                ("batch_texts", self.batch_texts, 1),
                ("batch_tokens", self.batch_tokens, 1),
                ("max_length", self.max_length, 8),
                ("stride", self.stride, 0),
                ("patience", self.patience, 0),
                ("evaluate_every", self.evaluate_every, 1),
                ("seed", self.seed, 0),
                ("log_every", self.log_every, 1),
                ("snapshot_every", self.snapshot_every, 1),
            )
            if value is not None and value < least
        ]
        for name, rate in (
            ("epochs", self.epochs),
            ("learning_rate", self.learning_rate),
            ("head_learning_rate", self.head_learning_rate),
        ):
            if rate is not None and not (rate > 0 and math.isfinite(rate)):
                faults.append(f"{name} is {rate!r}: give a number above 0")
        for name, share in (("warmup_share", self.warmup_share), ("weight_decay", self.weight_decay)):
            if not 0 <= share < 1:
                faults.append(f"{name} is {share!r}: give 0 or more and less than 1")
        if not (self.max_grad_norm >= 0 and math.isfinite(self.max_grad_norm)):
            faults.append(f"max_grad_norm is {self.max_grad_norm!r}: give 0 (never) or more")
        if self.epochs is not None and self.steps is not None:
            faults.append("epochs and steps are both given: give one of them")
        if self.batch_texts is not None and self.batch_tokens is not None:
            faults.append("batch_texts and batch_tokens are both given: give one of them")
        try:
            Freeze.parse(self.freeze)
        except InputError as error:
            faults.append(str(error))
        if faults:
            raise ConfigError(faults, "FinetuneConfig")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """What follows from the settings and the data."""

    steps: int
    steps_per_epoch: int
    batching: Batching
    evaluate_every: int
    warmup_steps: int
    learning_rate: float
    """At its peak."""
    head_factor: float
    """Learning rate of the head, in that of the rest."""

    @property
    def epochs(self) -> float:
        """How often the examples are read if the run goes to its last step."""
        return self.steps / self.steps_per_epoch


def plan_training(
    config: FinetuneConfig, kind: Kind, lengths: Sequence[int], *, examples: int, width: int
) -> TrainingPlan:
    """Decide what the settings leave open, by the examples and the size of the model alone.

    Args:
        config: The settings.
        kind: Of the task.
        lengths: Tokens of each row: of a training example, or of a window of one.
        examples: How many the rows are of.
        width: Units of the model's hidden states.

    Raises:
        ConfigError: The batches cannot hold the longest example.
    """
    texts = config.batch_texts or (_TEXTS_OF_QUESTIONS if kind == "question-answering" else _TEXTS)
    longest = max(lengths)
    if config.batch_tokens is not None and config.batch_tokens < longest:
        raise ConfigError(
            [
                f"batch_tokens is {config.batch_tokens}, less than the longest example, {longest} tokens: give at "
                f"least {longest}, or a smaller max_length"
            ],
            "FinetuneConfig",
        )
    budget = config.batch_tokens or max(longest, math.ceil(texts * sum(lengths) / len(lengths)))
    per_epoch = len(bucket(lengths, budget))
    steps = config.steps or max(1, math.ceil((config.epochs or usual_epochs(examples)) * per_epoch))
    rate = config.learning_rate or usual_rate(width)
    often = max(min(per_epoch, steps // _LOOKS_AT_LEAST), min(per_epoch, _STEPS_BETWEEN_LOOKS), 1)
    return TrainingPlan(
        steps=steps,
        steps_per_epoch=per_epoch,
        # No longer than half an epoch, so that an example seldom meets itself in a batch.
        batching=Batching(token_budget=budget, window=max(1, min(_LARGEST_WINDOW, per_epoch // 2))),
        evaluate_every=min(config.evaluate_every or often, steps),
        warmup_steps=int(config.warmup_share * steps),
        learning_rate=rate,
        head_factor=(config.head_learning_rate or _HEAD_FACTOR * rate) / rate,
    )


def usual_epochs(examples: int) -> float:
    """Epochs for a number of training examples: few need many."""
    return next((epochs for limit, epochs in _EPOCHS if examples < limit), _EPOCHS_OF_MANY)


def usual_rate(width: int) -> float:
    """The learning rate for a width of hidden states.

    Reference:
        Yang et al., "Tensor Programs V" (2022), table 3: Adam's rate for hidden weights goes with 1 / width,
        https://arxiv.org/abs/2203.03466. Where it passes (384 units, 1e-4) was chosen on development examples.
    """
    return min(_LARGEST_RATE, _RATE * _WIDTH / max(1, width))


def training_config(
    config: FinetuneConfig, plan: TrainingPlan, seed: int, precision: Literal["fp32", "bf16"]
) -> TrainingConfig:
    """The engine's settings."""
    return TrainingConfig(
        steps=plan.steps,
        seed=seed,
        precision=precision,
        log_every=config.log_every,
        evaluate_every=plan.evaluate_every,
        schedule=ScheduleConfig(warmup_steps=plan.warmup_steps),
        optimiser=OptimiserConfig(
            learning_rate=plan.learning_rate,
            weight_decay=config.weight_decay,
            max_grad_norm=config.max_grad_norm,
        ),
        snapshots=SnapshotConfig(
            every_steps=config.snapshot_every,
            keep_last=1,
            metric=DEV_SCORE,
            higher_is_better=True,
            on_improvement=True,
        ),
    )
