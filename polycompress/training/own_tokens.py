"""Examples cut by each teacher's own tokenizer, and which tokens of all models make up the same words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polycompress.distill.alignment import pooling_matrix, stack_pooling
from polycompress.training.batches import Batch
from polycompress.training.distilling_inputs import Inputs
from polycompress.training.items import Item
from polycompress.training.task_loss import stack_types

Words = Sequence[NDArray[np.int64]]
"""Of each item the word of each of its tokens, (T,), or ``alignment.NO_WORD``."""
Found = TypeVar("Found", covariant=True)


class Numbered(Protocol[Found]):
    """Something of each item, by its number: a list, or what reads it from disk."""

    def __getitem__(self, number: int, /) -> Found:
        """That of one item."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnTokens:
    """What teachers are shown instead of the student's tokens. All is numbered as the student's items are."""

    items: tuple[Numbered[Item] | None, ...]
    """Of each teacher; None: it is shown the student's tokens."""
    pad_ids: tuple[int, ...]
    """Of each teacher."""
    words: tuple[Numbered[NDArray[np.int64]], ...] | None = None
    """Of the student, then of each teacher; None where nothing is compared word by word."""


class OwnTokenInputs:
    """Batches for a student, and for teachers of which some have tokenizers of their own."""

    def __init__(self, inputs: Inputs, own: OwnTokens) -> None:
        """Join what belongs together.

        Args:
            inputs: Of the student.
            own: Of the teachers.
        """
        self.inputs, self.own = inputs, own

    def weight(self, batch: Batch) -> int:
        """As of the student."""
        return self.inputs.weight(batch)

    def __call__(self, batch: Batch) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """What the student is shown, and besides what it is told ``own_inputs`` and ``words``."""
        inputs, told = self.inputs(batch)
        shown = [
            None if items is None else stack_items([items[number] for number in batch.text_ids], pad_id)
            for items, pad_id in zip(self.own.items, self.own.pad_ids, strict=True)
        ]
        more: dict[str, Any] = {"own_inputs": shown}
        if self.own.words is not None:
            student = inputs["input_ids"].shape[1]
            widths = [student if each is None else each["input_ids"].shape[1] for each in shown]
            more["words"] = stack_words(
                [[words[number] for number in batch.text_ids] for words in self.own.words], [student, *widths]
            )
        return inputs, {**told, **more}


def stack_items(items: Sequence[Item], pad_id: int) -> dict[str, Tensor]:
    """Some items as a model takes them, padded on the right to the longest: (B, n) int64 each."""
    width = max(len(item.ids) for item in items)
    ids = np.full((len(items), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(items), width), dtype=np.int64)
    for number, item in enumerate(items):
        ids[number, : len(item.ids)] = item.ids
        mask[number, : len(item.ids)] = 1
    found = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
    return {**found, **stack_types(items, width)}


def stack_words(words: Sequence[Words], widths: Sequence[int]) -> list[Tensor]:
    """How the tokens of some texts are averaged to words, for each model.

    Args:
        words: Of each model, of each text.
        widths: Tokens that each model's texts are padded to.

    Returns:
        (B, W, n) of each model; W is that of the text with most words, at least 1.
    """
    counts = [max(int(each.max(initial=-1)) + 1 for each in of_text) for of_text in zip(*words, strict=True)]
    return [
        torch.from_numpy(
            stack_pooling(
                [pooling_matrix(each, count) for each, count in zip(of_model, counts, strict=True)],
                words=max(1, *counts),
                tokens=width,
            )
        )
        for of_model, width in zip(words, widths, strict=True)
    ]
