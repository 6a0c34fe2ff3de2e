"""Held-out text of a distillation: batches that are the same every time, of all languages or of one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from polycompress.pipelines.distilling.text_request import TextRun
from polycompress.pipelines.distilling.text_student import Evaluate, masking_of
from polycompress.pipelines.tuning.source_model import SourceModel
from polycompress.training.batches import Batch
from polycompress.training.devices import Devices
from polycompress.training.distilling_inputs import Inputs
from polycompress.training.distilling_task import DistillationTask
from polycompress.training.examples import Examples
from polycompress.training.loader import BatchLoader
from polycompress.training.mixing import LanguageMixer, Stage
from polycompress.training.model import Kind
from polycompress.training.optimisers import SplitAdamW
from polycompress.training.shares import Mixing
from polycompress.training.step import no_gradient

BATCHES: Final = 32
"""At most, of one evaluation."""
_SEED: Final = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOutText:
    """Text to measure on, and how it is shown."""

    run: TextRun
    student: SourceModel
    examples: Examples
    kind: Kind | None
    """Of language models whose answers are compared; None: none are."""
    inputs: Inputs
    """What batches of this text become."""

    def batches(self, limit: int, language: str | None = None) -> list[Batch]:
        """The first batches of the text, each text once; masks are the same every time.

        Args:
            limit: At most so many.
            language: Code of the only language; None: all of them, in proportion to their text.
        """
        mixing = Mixing()
        if language is not None:
            shares = {code: float(code == language) for code in self.examples.languages}
            mixing = Mixing(strategy="fixed", shares=shares)
        loader = BatchLoader(
            self.examples,
            LanguageMixer(self.examples, (Stage(mixing),), max_epochs=1),
            self.run.config.batching,
            pad_id=self.student.pad_id,
            objective=masking_of(self.run, self.student, _SEED, self.kind),
        )
        return list(itertools.islice(loader, limit))


def mean_loss(
    task: DistillationTask, optimiser: SplitAdamW, devices: Devices, batches: Sequence[Batch]
) -> float:
    """The mean over what counts in some batches of a task's loss, nothing learnt from them; 0 of nothing."""
    losses = [no_gradient(task, optimiser, devices, batch) for batch in batches]
    weights = [task.weight(batch) for batch in batches]
    total = math.fsum(loss * weight for loss, weight in zip(losses, weights, strict=True))
    return total / max(1, sum(weights))


def make_evaluation(text: HeldOutText, devices: Devices) -> Evaluate:
    """What measures the mean loss over held-out text.

    Args:
        text: The text.
        devices: The processes.
    """

    def evaluate(training: DistillationTask, optimiser: SplitAdamW) -> dict[str, float]:
        task = training.with_inputs(text.inputs)
        return {"held_out_loss": mean_loss(task, optimiser, devices, text.batches(BATCHES))}

    return evaluate
