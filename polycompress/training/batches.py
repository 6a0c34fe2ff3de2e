"""Batches: examples as tensors, padded or packed, masked or not."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from polycompress.training.examples import Example
from polycompress.training.masking import IGNORED, Objective, Tokens
from polycompress.training.packing import additive_mask, block_mask


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """B rows of L tokens, and what they are. All tensors are int64."""

    input_ids: torch.Tensor
    """(B, L)"""
    attention_mask: torch.Tensor
    """(B, L) 1 for tokens, 0 for padding."""
    position_ids: torch.Tensor | None
    """(B, L) where rows are packed: they restart with each text."""
    document_ids: torch.Tensor | None
    """(B, L) where rows are packed: 1 for the first text of the row, 2 for the second, 0 for padding."""
    labels: torch.Tensor | None
    """(B, L), -100 where there is nothing to predict."""
    languages: tuple[str, ...]
    """(E,) code of each example, row after row."""
    text_ids: tuple[int, ...]
    """(E,)"""
    lengths: tuple[int, ...]
    """(E,) tokens of each example."""
    row_examples: tuple[int, ...]
    """(B,) examples in each row."""
    tokens: int
    """All without padding."""

    @property
    def labelled(self) -> int:
        """Labels that a loss counts (those of causal models too: the first of a text, shifted out, is none)."""
        return 0 if self.labels is None else int((self.labels != IGNORED).sum())

    def tokens_by_language(self) -> dict[str, int]:
        """Tokens of each language."""
        total: Counter[str] = Counter()
        for code, length in zip(self.languages, self.lengths, strict=True):
            total[code] += length
        return dict(total)

    def inputs(
        self, *, causal: bool = False, additive: bool = False, dtype: torch.dtype = torch.float32
    ) -> dict[str, torch.Tensor]:
        """What a model of transformers takes, without the labels.

        Args:
            causal: Whether the model is a decoder; matters for packed rows only.
            additive: Whether packed rows' mask is to be added to scores (eager attention) instead of bool (sdpa).
            dtype: Of an additive mask.

        Returns:
            ``input_ids`` and ``attention_mask``; with packed rows ``position_ids``, and the mask is (B, 1, L, L).
        """
        if self.document_ids is None or self.position_ids is None:
            return {"input_ids": self.input_ids, "attention_mask": self.attention_mask}
        mask = block_mask(self.document_ids, causal=causal)
        return {
            "input_ids": self.input_ids,
            "attention_mask": additive_mask(mask, dtype) if additive else mask,
            "position_ids": self.position_ids,
        }

    def to(self, device: torch.device | str) -> Batch:
        """The same on another device."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=True))

    def split(self) -> tuple[Batch, ...]:
        """Two batches of half the rows each; itself alone where it has one row. Padding that no row needs goes."""
        rows = len(self.row_examples)
        if rows < 2:
            return (self,)
        half = (rows + 1) // 2
        return self._rows(0, half), self._rows(half, rows)

    def as_dict(self) -> dict[str, Any]:
        """Everything in plain values, for writing a batch out."""
        tensors = ("input_ids", "attention_mask", "position_ids", "document_ids", "labels")
        found = {name: getattr(self, name) for name in tensors}
        return {
            **{name: tensor.tolist() if tensor is not None else None for name, tensor in found.items()},
            "languages": list(self.languages),
            "text_ids": list(self.text_ids),
            "lengths": list(self.lengths),
            "row_examples": list(self.row_examples),
            "tokens": self.tokens,
        }

    def _rows(self, begin: int, end: int) -> Batch:
        first, last = sum(self.row_examples[:begin]), sum(self.row_examples[:end])
        lengths = self.lengths[first:last]
        width = int(self.attention_mask[begin:end].sum(dim=1).max())
        return self._with(
            lambda tensor: tensor[begin:end, :width],
            languages=self.languages[first:last],
            text_ids=self.text_ids[first:last],
            lengths=lengths,
            row_examples=self.row_examples[begin:end],
            tokens=sum(lengths),
        )

    def _with(self, change: Callable[[torch.Tensor], torch.Tensor], **others: Any) -> Batch:
        """A copy whose tensors are changed."""

        def changed(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else change(tensor)

        return dataclasses.replace(
            self,
            input_ids=change(self.input_ids),
            attention_mask=change(self.attention_mask),
            position_ids=changed(self.position_ids),
            document_ids=changed(self.document_ids),
            labels=changed(self.labels),
            **others,
        )


def collate(
    rows: Sequence[Sequence[Example]],
    *,
    pad_id: int,
    objective: Objective | None = None,
    packed: bool = False,
    first_position: int = 0,
    multiple: int = 1,
    width: int | None = None,
) -> Batch:
    """Examples as a batch.

    Args:
        rows: Examples of each row; one each unless packed. At least one row, none of them empty.
        pad_id: Id of padding.
        objective: Makes ids and labels; None: the ids as they are and no labels.
        packed: Whether to give positions and documents, so that texts in one row stay apart.
        first_position: Position id of a text's first token: 0, but ``padding_idx + 1`` for models of RoBERTa's kind.
        multiple: The width is rounded up to a multiple of it.
        width: Of the rows, where it is fixed.
    """
    examples = [example for row in rows for example in row]
    lengths = np.array([len(example.ids) for example in examples], dtype=np.int64)
    tokens = _tokens(examples, lengths)
    ids, labels = objective(tokens) if objective is not None else (tokens.ids, None)
    in_row = np.array([len(row) for row in rows], dtype=np.int64)
    row_of = np.repeat(np.arange(len(rows)), in_row)  # (E,)
    row_lengths = np.bincount(row_of, lengths, minlength=len(rows)).astype(np.int64)
    size = padded_length(int(row_lengths.max()), multiple) if width is None else width
    before = np.cumsum(lengths) - lengths
    row_begins = np.cumsum(row_lengths) - row_lengths
    at_row = np.repeat(row_of, lengths)  # (T,)
    at_column = np.arange(len(tokens.ids)) - row_begins[at_row]

    def laid_out(values: NDArray[Any], padding: int) -> torch.Tensor:
        field = np.full((len(rows), size), padding, dtype=np.int64)
        field[at_row, at_column] = values
        return torch.from_numpy(field)

    document = np.arange(len(examples)) - np.repeat(np.cumsum(in_row) - in_row, in_row) + 1
    positions = np.arange(len(tokens.ids)) - np.repeat(before, lengths)
    return Batch(
        input_ids=laid_out(ids, pad_id),
        attention_mask=laid_out(np.ones_like(ids), 0),
        position_ids=laid_out(positions + first_position, first_position) if packed else None,
        document_ids=laid_out(np.repeat(document, lengths), 0) if packed else None,
        labels=laid_out(labels, IGNORED) if labels is not None else None,
        languages=tuple(example.language for example in examples),
        text_ids=tuple(example.text_id for example in examples),
        lengths=tuple(lengths.tolist()),
        row_examples=tuple(in_row.tolist()),
        tokens=int(lengths.sum()),
    )


def padded_length(length: int, multiple: int) -> int:
    """A length rounded up to a multiple."""
    return -(-length // multiple) * multiple


def _tokens(examples: Sequence[Example], lengths: NDArray[np.int64]) -> Tokens:
    flat = np.concatenate([np.asarray(example.ids, dtype=np.int64) for example in examples])
    begins = np.cumsum(lengths) - lengths
    return Tokens(
        ids=flat,
        text_ids=np.repeat(np.array([example.text_id for example in examples], dtype=np.int64), lengths),
        positions=np.arange(len(flat)) - np.repeat(begins, lengths),
        epochs=np.repeat(np.array([example.epoch for example in examples], dtype=np.int64), lengths),
    )
