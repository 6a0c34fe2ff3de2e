"""Hidden states of several teachers at the same tokens, or words, by which they are turned into one space."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from polycompress.distill.capture import Watched
from polycompress.distill.objectives.multi_teacher import to_words
from polycompress.distill.outputs import Needs
from polycompress.training.batches import Batch, collate
from polycompress.training.distilling_inputs import Inputs, moved
from polycompress.training.examples import Example
from polycompress.training.items import Items
from polycompress.training.teachers import Further, freeze, in_ids_of

SAMPLES: Final = 8192
"""Tokens or words, at most about as many."""
ROWS: Final = 16
"""Texts that go through the teachers at once."""


def sample_states(
    teachers: Sequence[Further],
    layers: Sequence[int],
    batches: Iterable[Batch],
    inputs: Inputs,
    *,
    device: torch.device,
    precision: str,
) -> list[Tensor]:
    """States of all teachers at tokens, or where some have tokens of their own at words.

    Args:
        teachers: On the device.
        layers: Number of a hidden state of each.
        batches: Texts; only as many as are needed are taken.
        inputs: What they become.
        device: Of the teachers.
        precision: ``bf16`` or ``fp32``.

    Returns:
        (N, d_t) fp32 of each; N may be small where there is little text.
    """
    watched = [
        Watched(freeze(teacher.model), Needs(hidden=frozenset({layer})), "teacher")
        for teacher, layer in zip(teachers, layers, strict=True)
    ]
    found: list[list[Tensor]] = [[] for _ in teachers]
    count = 0
    for batch in batches:
        shown, told = (moved(each, device) for each in inputs(batch))
        every = []
        with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            for place, (teacher, layer) in enumerate(zip(teachers, layers, strict=True)):
                own = _own(told, place)
                rows = None if teacher.rows is None else teacher.rows.to(device)
                every.append(watched[place](in_ids_of(shown, rows) if own is None else own).hidden[layer])
        for place, states in enumerate(_at_units(every, shown, told)):
            found[place].append(states.float())
        count += len(found[0][-1])
        if count >= SAMPLES:
            break
    return [torch.cat(each) for each in found]


def some_items(items: Items, pad_id: int) -> Iterator[Batch]:
    """Batches of a task's items, spread over all of them."""
    numbers = np.unique(np.linspace(0, len(items) - 1, min(len(items), SAMPLES // 8)).astype(int)).tolist()
    order = np.random.default_rng(0).permutation(len(numbers)).tolist()  # languages stand one after another
    for begin in range(0, len(order), ROWS):
        chosen = [numbers[place] for place in order[begin : begin + ROWS]]
        yield collate([[Example(number, "", items[number].ids, 0)] for number in chosen], pad_id=pad_id)


def _own(told: Mapping[str, Any], place: int) -> Mapping[str, Tensor] | None:
    own = told.get("own_inputs")
    return None if own is None else own[place]


def _at_units(states: Sequence[Tensor], shown: Mapping[str, Tensor], told: Mapping[str, Any]) -> list[Tensor]:
    """(N, d_t) of each teacher, of tokens, or of words that all models have."""
    words = told.get("words")
    if words is None:
        mask = shown["attention_mask"] != 0
        return [each[mask] for each in states]
    there = torch.stack([(each > 0).any(dim=2) for each in words]).all(dim=0)
    return [to_words(each, own)[there] for each, own in zip(states, words[1:], strict=True)]
