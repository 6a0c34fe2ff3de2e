"""A teacher's outputs computed once, before training, and read in every epoch after that."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polycompress.distill.capture import Watched
from polycompress.distill.shelf import Shelf, rows_of
from polycompress.distill.store import ids_key
from polycompress.training.batches import Batch
from polycompress.training.batching import bucket
from polycompress.training.distilling_inputs import Inputs
from polycompress.training.teachers import freeze

logger = logging.getLogger(__name__)

TEXTS_AT_ONCE: Final = 2048
TOKENS_AT_ONCE: Final = 1 << 15
"""So much is computed and kept together; of a run that is killed so much is computed again."""
Tell = Callable[[str, int, int | None], None]
Tokens = tuple[NDArray[np.int64], NDArray[np.int64] | None]
"""(n,) ids of a text in the teacher's vocabulary, and (n,) which of two texts each is of, where models are told."""


def key_of(tokens: Tokens) -> str:
    """What a text is known by."""
    ids, types = tokens
    return ids_key(ids if types is None else np.concatenate([ids, [-1], types]))


def keep_outputs(
    shelf: Shelf,
    teacher: Any,
    texts: Iterable[Tokens],
    *,
    token_budget: int,
    pad_id: int,
    device: torch.device,
    precision: str,
    tell: Tell | None = None,
) -> int:
    """Compute what a shelf lacks of some texts, in batches of like length, and keep it.

    Texts are put into groups before those that are there are left out, and a group is kept whole or computed again: a
    run that was killed gets what one that was not gets.

    Args:
        shelf: Of this teacher.
        teacher: Of transformers, on the device.
        texts: In any order; the same one may come several times.
        token_budget: Rows times width of a batch at most.
        pad_id: Id of padding.
        device: Where it computes.
        precision: ``bf16`` or ``fp32``, in which it computes.
        tell: Told how far it is.

    Returns:
        How many texts were computed.

    Raises:
        InputError: The teacher cannot show what is wanted, or says what cannot be kept.
        StorageError: The disk refused.
    """
    watched: Watched | None = None
    done = seen = 0
    for group in _groups(texts):
        named = {key_of(tokens): tokens for tokens in group}
        new = [named[key] for key in shelf.missing(list(named))]
        seen += len(group)
        if new:
            watched = watched or Watched(freeze(teacher), shelf.wanted.needs, "teacher")
            rows: list[Any] = [None] * len(new)
            for places in bucket([len(ids) for ids, _ in new], token_budget):
                inputs = _padded([new[place] for place in places], pad_id, device)
                with (
                    torch.inference_mode(),
                    torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"),
                ):
                    said = watched(inputs)
                found = rows_of(shelf.wanted, said, inputs["attention_mask"] != 0)
                for place, row in zip(places, found, strict=True):
                    rows[place] = row
            shelf.put([key_of(tokens) for tokens in new], rows)
            done += len(new)
        if tell is not None:
            tell("the teacher, once for all epochs", seen, None)
    logger.info("%d of %d texts: what the teacher says was computed, and kept", done, seen)
    return done


class KeptInputs:
    """Batches of other inputs, together with what is kept of their texts."""

    def __init__(self, inputs: Inputs, shelf: Shelf, rows: Tensor | None = None) -> None:
        """Join what belongs together.

        Args:
            inputs: What batches become.
            shelf: With every text.
            rows: (V,) the teacher's id of each of the student's tokens, where they differ.
        """
        self._inputs, self._shelf = inputs, shelf
        self._rows = None if rows is None else rows.cpu().numpy()

    def weight(self, batch: Batch) -> int:
        """As theirs."""
        return self._inputs.weight(batch)

    def __call__(self, batch: Batch) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """Theirs, and ``kept``."""
        inputs, told = self._inputs(batch)
        ids, types = inputs["input_ids"].numpy(), inputs.get("token_type_ids")
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        keys = [
            key_of(
                in_teachers_ids(
                    ids[row, :length], None if types is None else types[row, :length].numpy(), self._rows
                )
            )
            for row, length in enumerate(lengths)
        ]
        return inputs, {**told, "kept": self._shelf.get(keys, lengths, ids.shape[1])}


def in_teachers_ids(
    ids: NDArray[np.integer[Any]], types: NDArray[np.integer[Any]] | None, rows: NDArray[np.int64] | None
) -> Tokens:
    """A text as its teacher sees it.

    Args:
        ids: (n,) the student's.
        types: (n,) see ``Tokens``.
        rows: (V,) the teacher's id of each of the student's tokens; None: they are the same.
    """
    plain = np.asarray(ids, dtype=np.int64)
    return (
        plain if rows is None else rows[plain],
        None if types is None else np.asarray(types, dtype=np.int64),
    )


def _groups(texts: Iterable[Tokens]) -> Iterator[list[Tokens]]:
    group: list[Tokens] = []
    tokens = 0
    for text in texts:
        if group and (len(group) == TEXTS_AT_ONCE or tokens + len(text[0]) > TOKENS_AT_ONCE):
            yield group
            group, tokens = [], 0
        group.append(text)
        tokens += len(text[0])
    if group:
        yield group


def _padded(texts: Sequence[Tokens], pad_id: int, device: torch.device) -> dict[str, Tensor]:
    shape = (len(texts), max(len(ids) for ids, _ in texts))
    ids, mask, types = (np.full(shape, padding, dtype=np.int64) for padding in (pad_id, 0, 0))
    for row, (own, kinds) in enumerate(texts):
        ids[row, : len(own)], mask[row, : len(own)] = own, 1
        types[row, : len(own)] = 0 if kinds is None else kinds
    inputs = {"input_ids": ids, "attention_mask": mask}
    if texts[0][1] is not None:
        inputs["token_type_ids"] = types
    return {name: torch.from_numpy(values).to(device) for name, values in inputs.items()}
