"""What the training of a model with experts of language families can be told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from polycompress.moe.shares import ALPHA, MAX_RATIO
from polycompress.pipelines.distilling.config import TextConfig
from polycompress.pipelines.distilling.loss_specs import LossSpec
from polycompress.pipelines.distilling.text_losses import Attention, HiddenLoss, text_losses, weight_faults
from polycompress.training.errors import ConfigError

Routing = Literal["forced", "supervised", "none"]
SUPERVISION: Final = 0.1
"""Weight of supervised routing where none is given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RoutingConfig:
    """How tokens find the experts of their family while they train."""

    routing: Routing = "forced"
    """``forced``: one of a token's experts is its family's, as in the paper; ``supervised``: the router alone chooses,
    and a loss tells it the family; ``none``: it is told nothing, and experts are no family's."""
    forcing: float = 1.0
    """Of ``forced``: the probability that a token is."""
    anneal: bool = False
    """Of ``forced``: whether the probability falls to 0 over the run, in a straight line, so that the end of the run is
    as inference will be."""
    supervision: float | None = None
    """Weight of the loss that tells the router the family. None: 0.1 of ``supervised``, else 0."""
    balancing: float = 0.0
    """Weight of the loss that spreads tokens over all experts evenly; 0 in the paper."""
    idle_steps: int = 200
    """An expert that no token reached in so many steps is named in a warning."""

    def __post_init__(self) -> None:
        """Check the values; raises ``ConfigError`` with all faults."""
        faults = []
        if not 0 <= self.forcing <= 1:
            faults.append(f"forcing is {self.forcing}: give a probability, 0 to 1")
        for name in ("supervision", "balancing"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                faults.append(f"{name} is {value}: give 0 or more")
        if self.idle_steps < 1:
            faults.append(f"idle_steps is {self.idle_steps}: give at least 1")
        if self.routing != "forced":
            faults += [
                f"{name} is set, but routing is {self.routing!r}, which forces nothing: leave it out, or take forced"
                for name, usual in (("forcing", 1.0), ("anneal", False))
                if getattr(self, name) != usual
            ]
        if self.routing == "none" and self.supervision:
            faults.append(
                f"supervision is {self.supervision}, but routing is 'none': leave it out, or take supervised"
            )
        if self.routing == "supervised" and self.supervision == 0:
            faults.append("supervision is 0, but routing is 'supervised': raise it, or take none")
        if faults:
            raise ConfigError(faults, "RoutingConfig")

    @property
    def supervision_weight(self) -> float:
        """Of the loss that tells the router the family."""
        if self.supervision is None:
            return SUPERVISION if self.routing == "supervised" else 0.0
        return self.supervision

    def forcing_at(self, step: int, steps: int) -> float:
        """The probability of forcing after so many steps of so many."""
        if self.routing != "forced":
            return 0.0
        return self.forcing * (1 - step / steps) if self.anneal else self.forcing


@dataclass(frozen=True, kw_only=True, slots=True)
class ReweighConfig:
    """How languages that lag behind get more of what is left of the run; see ``moe.shares.reweighted``."""

    every: int = 0
    """Steps between looks at held-out text (the paper: 1000); 0: shares stay as they are."""
    alpha: float = ALPHA
    max_ratio: float = MAX_RATIO
    batches: int = 8
    """Of held-out text of each language that are looked at."""

    def __post_init__(self) -> None:
        """Check the values; raises ``ConfigError`` with all faults."""
        faults = []
        if self.every < 0:
            faults.append(f"every is {self.every}: give 0 (never) or more")
        if not 0 <= self.alpha < 1:
            faults.append(
                f"alpha is {self.alpha}: give 0 or more and less than 1, which would let languages vanish"
            )
        if not 0 < self.max_ratio <= 100:
            faults.append(f"max_ratio is {self.max_ratio}: give a number above 0, at most 100")
        if self.batches < 1:
            faults.append(f"batches is {self.batches}: give at least 1")
        if faults:
            raise ConfigError(faults, "ReweighConfig")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpertsConfig:
    """Everything that the training can be told besides models and text."""

    text: TextConfig
    routing: RoutingConfig = field(default_factory=RoutingConfig)
    reweigh: ReweighConfig = field(default_factory=ReweighConfig)
    families_temperature: float = 10 / 3
    """Families get tokens in proportion to ``size ** (1 / temperature)``, and so languages within each: 1 is
    proportional to the text there is, more is more even. See ``moe.shares.family_shares``."""
    layer_map: tuple[int, ...] = ()
    """Of the teacher, for each layer of the student. Empty: as the student was made, or the last of each block."""
    hidden_weight: float = 1.0
    """This and the next five: see ``Learning``."""
    hidden_loss: HiddenLoss = "mse"
    vector_weight: float = 0.0
    attention_weight: float = 1.0
    attention: Attention = "maps"
    relation_heads: int = 12
    answers_weight: float = 0.0
    """Of the divergence between both models' answers over the pieces that both have; both need a language model's
    head."""
    temperature: float = 1.0
    """Of answers."""

    def __post_init__(self) -> None:
        """Check the values; raises ``ConfigError`` with all faults."""
        faults = weight_faults(self)
        if not 0 <= self.answers_weight < float("inf"):
            faults.append(f"answers_weight is {self.answers_weight}: give 0 or more")
        if not 0 < self.temperature < float("inf"):
            faults.append(f"temperature is {self.temperature}: give a number above 0")
        if not 0 < self.families_temperature < float("inf"):
            faults.append(f"families_temperature is {self.families_temperature}: give a number above 0")
        if self.text.parallel != "ddp":
            faults.append(f"text.parallel is {self.text.parallel!r}: experts are trained with 'ddp'")
        if not self.losses():
            faults.append(
                "hidden_weight, vector_weight, attention_weight and answers_weight leave nothing to learn: raise one"
            )
        if faults:
            raise ConfigError(faults, "ExpertsConfig")

    def losses(self) -> tuple[LossSpec, ...]:
        """The objectives that the settings name, without those of the router."""
        answers = LossSpec(
            name="unequal", weight=self.answers_weight, options={"temperature": self.temperature}
        )
        return (*text_losses(self), *([answers] if self.answers_weight else []))
