"""What a run on text may learn and do besides what its objectives ask of a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from polycompress.pipelines.distilling.held_out import HeldOutText
from polycompress.pipelines.distilling.running import Running
from polycompress.training.distilling import Weighted
from polycompress.training.distilling_inputs import Inputs
from polycompress.training.loop import Companion


class Addition(Protocol):
    """Losses and inputs of the student's own, and companions of the run."""

    def losses(self, student: Any) -> tuple[Weighted, ...]:
        """Further losses, which no teacher is asked for.

        Args:
            student: Of transformers, loaded.
        """

    def inputs(self, inputs: Inputs) -> Inputs:
        """What batches become, with what the student alone is told."""

    def sizes(self, student: Any) -> Mapping[str, int]:
        """What there is to say of the student's size besides its parameters and tokens.

        Args:
            student: Of transformers, loaded.
        """

    def companions(self, running: Running, held_out: HeldOutText | None) -> Mapping[str, Companion]:
        """Who goes along with the run, by name.

        Args:
            running: The run.
            held_out: Text to measure on, if there is any.
        """
