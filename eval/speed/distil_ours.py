"""Phase 1 of BiStil as the engine does it, for ``distil.py``."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import Literal

import torch
from tokenizers import Tokenizer

from eval.speed.distil_room import (
    DECAY,
    MASKED,
    MAX_NORM,
    PEAK_STEPS,
    RATE,
    Room,
    mix,
    peak_mib,
    set_dropout_to_zero,
)
from polycompress.distill.objectives.attention import AttentionMSE
from polycompress.distill.objectives.hidden import HiddenMSE
from polycompress.training.batches import Batch
from polycompress.training.batching import Batching
from polycompress.training.devices import Devices
from polycompress.training.distilling import Distillation, Weighted
from polycompress.training.distilling_inputs import TextInputs
from polycompress.training.distilling_task import DistillationTask
from polycompress.training.loader import BatchLoader
from polycompress.training.masking import Masking, masked_lm
from polycompress.training.model import load_encoder, make_table_sparse
from polycompress.training.optimisers import SplitAdamW, param_groups
from polycompress.training.rows import find_tables
from polycompress.training.step import train_step
from polycompress.training.teachers import round_linear_


def make_batches(room: Room, budget: int) -> BatchLoader:
    """Of texts of like length, some tokens masked.

    Args:
        room: The text.
        budget: Tokens of a batch at most, padding included.
    """
    examples = room.examples()
    tokenizer = Tokenizer.from_file(str(room.teacher / "tokenizer.json"))
    masking = masked_lm(tokenizer, "<mask>", Masking(rate=MASKED), 0)
    pad_id = int(room.facts["pad_id"])
    return BatchLoader(
        examples, mix(examples), Batching(token_budget=budget), pad_id=pad_id, objective=masking
    )


class Ours:
    """A run at its beginning."""

    def __init__(self, room: Room, precision: Literal["fp32", "bf16"]) -> None:
        """Load both models and make the parts."""
        teacher, student = (load_encoder(path).model for path in (room.teacher, room.student))
        set_dropout_to_zero(student)
        if precision == "bf16":
            round_linear_(teacher)
        losses = [
            Weighted(name="hidden-mse", objective=HiddenMSE(room.layers.hidden)),
            Weighted(name="attention-mse", objective=AttentionMSE(room.layers.attention)),
        ]
        distillation = Distillation(student, teacher, losses)
        self.devices = Devices(precision=precision, device="cpu")
        is_sparse = make_table_sparse(student)
        module = self.devices.wrap(distillation, find_tables(distillation))
        self.optimiser = SplitAdamW(param_groups(distillation, DECAY), lr=RATE)
        self.task = DistillationTask(
            distillation, module, TextInputs(), device=self.devices.device, is_sparse=is_sparse
        )
        module.train()

    def step(self, batches: Sequence[Batch], number: int) -> None:
        """Train on some batches at once."""
        train_step(
            self.task, self.optimiser, self.devices, batches,
            step=number, learning_rate=RATE, max_grad_norm=MAX_NORM,
        )  # fmt: skip
        self.task.after_step(self.devices)

    def losses(self, batch: Batch) -> list[float]:
        """Of a batch, nothing learnt from it: hidden states, attention."""
        with torch.no_grad(), self.devices.computing(self.task.module, last=True):
            self.task.module(**self.task.prepare(batch).inputs)
        self.task.after_step(self.devices)
        return list(self.task.figures().values())


def run_ours(
    room: Room, precision: Literal["fp32", "bf16"], budget: int, accumulation: int, steps: int, warm_up: int
) -> dict[str, float]:
    """Train for some steps, the clock running after the first few; see ``distil.py`` for what is told."""
    ours, batches = Ours(room, precision), iter(make_batches(room, budget))
    tokens = places = 0
    begun, peak = time.perf_counter(), 0.0
    for number in range(1, steps + 1):
        together = list(itertools.islice(batches, accumulation))
        ours.step(together, number)
        if number == PEAK_STEPS:
            peak = peak_mib()
        if number == warm_up:
            begun = time.perf_counter()
        elif number > warm_up:
            tokens += sum(batch.tokens for batch in together)
            places += sum(batch.input_ids.numel() for batch in together)
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "tokens": tokens, "places": places, "peak_mib": peak}
