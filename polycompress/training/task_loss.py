"""The losses of fine-tuning: cross-entropy over classes, over tags of words, over the two ends of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from polycompress.moe.context import forced_languages
from polycompress.training.batches import Batch
from polycompress.training.items import Item, Items
from polycompress.training.language_ids import language_ids as language_ids_of
from polycompress.training.masking import IGNORED
from polycompress.training.objective import Prepared
from polycompress.training.task_model import HeadKind


def classes_loss(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over the labels that there are, in fp32; 0, with gradients, where there is none.

    Args:
        logits: (..., C)
        labels: (...) ``IGNORED`` where there is none.
        weights: (C,) how much each class counts. The mean is over labels, so that a batch's weight is their number
            whatever classes it holds.
    """
    flat, wanted = logits.reshape(-1, logits.shape[-1]).float(), labels.reshape(-1)
    total = functional.cross_entropy(flat, wanted, weight=weights, ignore_index=IGNORED, reduction="sum")
    loss: Tensor = total / max(1, int((wanted != IGNORED).sum()))
    return loss


def span_loss(start_logits: Tensor, end_logits: Tensor, spans: Tensor, mask: Tensor) -> Tensor:
    """Mean cross-entropy of the first and the last token of the answer, each over all tokens of the window.

    Args:
        start_logits: (B, L)
        end_logits: (B, L)
        spans: (B, 2) places; both 0 where the window does not hold the answer.
        mask: (B, L) 0 for padding, which cannot be chosen.

    Reference:
        Devlin et al., "BERT" (2019), section 4.2.
    """
    outside = mask == 0
    ends = [
        functional.cross_entropy(logits.float().masked_fill(outside, -torch.inf), spans[:, place])
        for place, logits in enumerate((start_logits, end_logits))
    ]
    loss: Tensor = (ends[0] + ends[1]) / 2
    return loss


def balanced_weights(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weights of classes against their frequency: n / (C n_c), whose mean over the examples is 1.

    Args:
        counts: (C,) examples of each class.

    Returns:
        (C,); 0 for a class without examples.

    Reference:
        King and Zeng, "Logistic regression in rare events data" (2001); scikit-learn's ``balanced``.
    """
    present = counts > 0
    weights = np.zeros(len(counts), dtype=np.float64)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights


class TaskLoss(nn.Module):  # type: ignore[misc]
    """A model with a head and its loss as one module."""

    def __init__(self, model: Any, head: HeadKind, weights: Tensor | None = None) -> None:
        """Take over a model; its parameters stay the same objects under the same names.

        Args:
            model: Of transformers.
            head: Which it has.
            weights: (C,) of classes; None: all count alike.
        """
        super().__init__()
        self.model, self.head = model, head
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        token_type_ids: Tensor | None = None,
        language_ids: Tensor | None = None,
    ) -> Tensor:
        """The mean loss.

        Args:
            input_ids: (B, L)
            attention_mask: (B, L)
            labels: (B,) classes, (B, L) tags or (B, 2) spans.
            token_type_ids: (B, L) for models that are told.
            language_ids: (B, L) likewise.
        """
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        if language_ids is not None:
            inputs["language_ids"] = language_ids
        found = self.model(**inputs)
        if self.head == "span":
            return span_loss(found.start_logits, found.end_logits, labels, attention_mask)
        return classes_loss(found.logits, labels, self.class_weights)


class FineTuning:
    """Batches to inputs: what a step needs besides the module."""

    def __init__(
        self, objective: TaskLoss, module: nn.Module, items: Items, *, device: torch.device, is_sparse: bool
    ) -> None:
        """Join what belongs together.

        Args:
            objective: The loss.
            module: The same, perhaps wrapped.
            items: That the batches' texts are the numbers of.
            device: Where the module is.
            is_sparse: Whether the model's table has to be told which rows will be read.
        """
        self.objective, self.module, self.items = objective, module, items
        self.device, self.is_sparse = device, is_sparse
        self._languages = forced_languages(objective.model)

    def weight(self, batch: Batch) -> int:
        """Over how many texts, tags or windows a batch's loss is a mean."""
        return labelled(self.items, batch, self.objective.head)

    def prepare(self, batch: Batch) -> Prepared:
        """Inputs of the module, and the rows of the table that it will read."""
        chosen = [self.items[number] for number in batch.text_ids]
        width = batch.input_ids.shape[1]
        inputs = {
            "input_ids": batch.input_ids,
            "attention_mask": batch.attention_mask,
            "labels": stack_labels(chosen, self.objective.head, width),
        }
        inputs |= stack_types(chosen, width)
        if self._languages:
            inputs["language_ids"] = language_ids_of(batch, self._languages)
        rows = torch.unique(batch.input_ids).to(self.device) if self.is_sparse else None
        return Prepared({name: tensor.to(self.device) for name, tensor in inputs.items()}, rows)


def labelled(items: Items, batch: Batch, head: HeadKind) -> int:
    """How many texts, tags or windows of a batch have a label."""
    if head != "token":
        return len(batch.text_ids)
    return sum(int((items[number].labels != IGNORED).sum()) for number in batch.text_ids)


def stack_labels(items: Sequence[Item], head: HeadKind, width: int) -> Tensor:
    """Labels of a batch as ``TaskLoss`` takes them."""
    if head == "token":
        return _stacked([item.labels for item in items], width, IGNORED)
    labels = torch.from_numpy(np.stack([item.labels for item in items]))
    return labels if head == "span" else labels[:, 0]


def stack_types(items: Sequence[Item], width: int) -> Mapping[str, Tensor]:
    """``token_type_ids`` of a batch; nothing where the model is not told."""
    types = [item.type_ids for item in items if item.type_ids is not None]
    return {"token_type_ids": _stacked(types, width, 0)} if len(types) == len(items) else {}


def _stacked(rows: Sequence[NDArray[Any]], width: int, padding: int) -> Tensor:
    """Rows of numbers, padded to (B, width)."""
    field = np.full((len(rows), width), padding, dtype=np.int64)
    for number, row in enumerate(rows):
        field[number, : len(row)] = row
    return torch.from_numpy(field)
