"""What batches become before student and teachers see them: text, text that is answered for, examples of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from polycompress.training.batches import Batch
from polycompress.training.items import Items
from polycompress.training.masking import IGNORED
from polycompress.training.model import Kind
from polycompress.training.objective import shift
from polycompress.training.task_loss import labelled, stack_labels, stack_types
from polycompress.training.task_model import HeadKind


class Inputs(Protocol):
    """What a batch becomes before both models see it, and what objectives are told of it."""

    def weight(self, batch: Batch) -> int:
        """Over how many things the batch's loss is a mean."""

    def __call__(self, batch: Batch) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """What the student takes, and what else ``Distillation.forward`` is told."""


class TextInputs:
    """Batches of text: a loss is a mean over tokens."""

    def __init__(self, languages: Sequence[str] = ()) -> None:
        """Say whose teachers there are.

        Args:
            languages: That have a teacher of their own, in the order of these; the first teacher has all others.
        """
        self._teachers = {code: number for number, code in enumerate(languages, start=1)}

    def weight(self, batch: Batch) -> int:
        """Tokens without padding."""
        return batch.tokens

    def __call__(self, batch: Batch) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """The batch as it is, and each text's teacher."""
        if not self._teachers:
            return batch.inputs(), {}
        return batch.inputs(), {
            "taught_by": torch.tensor([self._teachers.get(code, 0) for code in batch.languages])
        }


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


class TaskInputs:
    """Batches of a task's examples: a loss is a mean over what ``FineTuning`` takes it over."""

    def __init__(self, items: Items, head: HeadKind) -> None:
        """Join what belongs together.

        Args:
            items: That the batches' texts are the numbers of.
            head: Of both models.
        """
        self.items, self.head = items, head

    def weight(self, batch: Batch) -> int:
        """Over how many texts, tags or windows a batch's loss is a mean."""
        return labelled(self.items, batch, self.head)

    def __call__(self, batch: Batch) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """The batch, its labels, and where logits count."""
        chosen = [self.items[number] for number in batch.text_ids]
        labels = stack_labels(chosen, self.head, batch.input_ids.shape[1])
        told = {"labels": labels}
        if self.head == "token":
            told["valid"] = labels != IGNORED
        return {**batch.inputs(), **stack_types(chosen, batch.input_ids.shape[1])}, told


def moved(value: Any, device: torch.device) -> Any:
    """Tensors on another device, in lists and mappings as they are."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {name: moved(each, device) for name, each in value.items()}
    return [moved(each, device) for each in value] if isinstance(value, list | tuple) else value
