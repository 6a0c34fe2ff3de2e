"""Batches of text whose tokens language models answer for."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from polycompress.training.batches import Batch
from polycompress.training.masking import IGNORED
from polycompress.training.model import Kind
from polycompress.training.objective import shift


class AnswerInputs:
    """Batches of text whose tokens both models answer for: masked ones, or of causal models all of them."""

    def __init__(self, kind: Kind, *, answers_alone: bool) -> None:
        """Say what counts.

        Args:
            kind: Of both models.
            answers_alone: Whether nothing but answers is compared: a batch's loss is then a mean over these.
        """
        self.kind, self.answers_alone = kind, answers_alone

    def weight(self, batch: Batch) -> int:
        """Tokens that are answered for, or all without padding."""
        return batch.labelled if self.answers_alone and self.kind == "masked" else batch.tokens

    def __call__(self, batch: Batch) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """The batch, the tokens that are hidden or come next, and where logits count."""
        assert batch.labels is not None
        if self.kind == "causal":
            return batch.inputs(), {"labels": shift(batch.labels), "valid": batch.attention_mask != 0}
        return batch.inputs(), {"labels": batch.labels, "valid": batch.labels != IGNORED}
