"""What the training of experts adds to a distillation on text: languages, losses of the router, companions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from polycompress.moe.config import MoeConfig
from polycompress.moe.context import RoutingContext
from polycompress.moe.experts import Experts
from polycompress.pipelines.distilling.held_out import HeldOutText
from polycompress.pipelines.distilling.running import Running
from polycompress.pipelines.experts_training.config import ExpertsConfig
from polycompress.pipelines.experts_training.measuring import BitsByLanguage, LossByLanguage
from polycompress.training.distilling import Weighted
from polycompress.training.distilling_inputs import Inputs
from polycompress.training.language_ids import LanguageInputs
from polycompress.training.loop import Companion
from polycompress.training.reweighing import Reweighing
from polycompress.training.routing import Forcing, IdleExperts, LoadBalancing, RouterSupervision

SUPERVISION: Final = "router-supervision"
BALANCING: Final = "load-balancing"
"""Names of the losses in the log, behind ``loss_``."""


class ExpertsLearning:
    """See ``distilling.addition.Addition``."""

    def __init__(self, config: ExpertsConfig, languages: Sequence[str], *, answers: bool) -> None:
        """Say what is asked for.

        Args:
            config: The settings.
            languages: Codes in the order of the student's language ids.
            answers: Whether both models answer on text, so that they can be compared in bits.
        """
        self._config, self._languages, self._answers = config, tuple(languages), answers

    def losses(self, student: Any) -> tuple[Weighted, ...]:
        """Of the router."""
        context, asked = student.moe_context, self._config.routing
        makers: tuple[tuple[str, Callable[[RoutingContext], Any], float], ...] = (
            (SUPERVISION, RouterSupervision, asked.supervision_weight),
            (BALANCING, LoadBalancing, asked.balancing),
        )
        return tuple(
            Weighted(name=name, objective=make(context), weight=weight)
            for name, make, weight in makers
            if weight
        )

    def inputs(self, inputs: Inputs) -> Inputs:
        """With each token's language, but where routing is to know nothing of it."""
        return inputs if self._config.routing.routing == "none" else LanguageInputs(inputs, self._languages)

    def sizes(self, student: Any) -> Mapping[str, int]:
        """How many of its parameters one token meets: not those of the E - k experts that it does not come to."""
        moe: MoeConfig = student.moe_context.config
        every = sum(parameter.numel() for parameter in student.parameters())
        experts = sum(
            parameter.numel()
            for module in student.modules()
            if isinstance(module, Experts)
            for parameter in module.parameters()
        )
        return {"active_parameters": every - experts // moe.experts * (moe.experts - moe.top_k)}

    def companions(self, running: Running, held_out: HeldOutText | None) -> Mapping[str, Companion]:
        """Who forces, who watches, who reweighs."""
        student = running.task.distillation.student
        config, context = self._config, student.moe_context
        steps, again = config.text.training.steps, config.reweigh
        found: dict[str, Companion] = {
            "forcing": Forcing(context, lambda step: config.routing.forcing_at(step, steps)),
            "idle": IdleExperts(student, context, running.devices, steps=config.routing.idle_steps),
        }
        if again.every:
            assert held_out is not None, "it is asked for before anything is loaded"
            kind = BitsByLanguage if self._answers else LossByLanguage
            found["reweighing"] = Reweighing(
                running.loader,
                kind(running, held_out, again.batches),
                running.devices,
                every=again.every,
                alpha=again.alpha,
                max_ratio=again.max_ratio,
            )
        return found
