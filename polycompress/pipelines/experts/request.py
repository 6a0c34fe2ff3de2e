"""What can be said of a model's experts besides their families."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from polycompress.errors import InputError
from polycompress.moe.choosing import choose_layers, choose_top_k
from polycompress.moe.config import MoeConfig, Routing
from polycompress.moe.planning import ExpertPlan

MAX_SEED = (1 << 32) - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpertSettings:
    """Where experts lie and how tokens find them.

    Raises:
        InputError: A value is out of its range.
    """

    layers: int | None = None
    """The last so many layers have experts; None: ``choosing.LAYERS``."""
    layer_list: tuple[int, ...] = ()
    """Instead, each of them, counted from 0."""
    top_k: int | None = None
    """Experts of a token; None: ``choosing.TOP_K``, or all where there are fewer."""
    normalise: bool = True
    """Whether the weights of a token's experts are scaled to sum to 1; without it an upcycled model begins with a
    fraction of its networks' output."""
    routing: Routing = "plain"
    """At inference: the router alone, or with a family's expert wherever the language is given."""
    seed: int = 0
    """Of noise and routers."""

    def __post_init__(self) -> None:
        if self.routing not in get_args(Routing):
            raise InputError(f"--routing {self.routing!r}: give one of {', '.join(get_args(Routing))}.")
        if not 0 <= self.seed <= MAX_SEED:
            raise InputError(f"--seed {self.seed}: give a number from 0 to {MAX_SEED}.")

    def settle(self, plan: ExpertPlan, model_layers: int, preset: str | None) -> MoeConfig:
        """What ``config.json`` says of the model.

        Args:
            plan: Its families and experts.
            model_layers: Layers of the model.
            preset: The grouping that its families are of; None: one of the user's own.

        Raises:
            InputError: The model has no such layers, or there are not as many experts as a token is to have.
        """
        return MoeConfig(
            layers=choose_layers(model_layers, last=self.layers, named=self.layer_list),
            experts=plan.experts,
            top_k=choose_top_k(plan.experts, self.top_k),
            normalise=self.normalise,
            families=plan.families,
            languages=plan.languages,
            routing=self.routing,
            preset=preset,
        )

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "layers": self.layers,
            "layer_list": list(self.layer_list) or None,
            "top_k": self.top_k,
            "normalise": self.normalise,
            "routing": self.routing,
        }
