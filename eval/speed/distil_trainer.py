"""The same distillation as one writes it with transformers alone, for ``distil.py``."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from torch import Tensor
from torch.utils.data import Dataset

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
from polycompress.training.batches import Batch
from polycompress.training.model import quiet_transformers


class Texts(Dataset[dict[str, list[int]]]):  # type: ignore[misc]
    """As much text of each language as the shortest has."""

    def __init__(self, room: Room) -> None:
        """Read it into memory."""
        examples = room.examples()
        amount = len(examples.languages) * min(examples.tokens)
        draws = itertools.takewhile(lambda draw: draw.epoch == 0, mix(examples))
        self.rows: list[list[int]] = []
        for draw in draws:
            if (amount := amount - draw.tokens) < 0:
                break
            self.rows.append([int(each) for each in examples.get(draw.language, draw.index).ids])

    def __len__(self) -> int:
        """Texts."""
        return len(self.rows)

    def __getitem__(self, number: int) -> dict[str, list[int]]:
        """One text, not padded."""
        return {"input_ids": self.rows[number]}


class Clock(transformers.TrainerCallback):  # type: ignore[misc]
    """When each step ended, and the peak memory by then."""

    def __init__(self) -> None:
        """Nothing has ended."""
        self.ends: list[float] = []
        self.peak_mib = 0.0

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note the time; the weights are updated by now."""
        self.ends.append(time.perf_counter())
        if len(self.ends) == PEAK_STEPS:
            self.peak_mib = peak_mib()


class PlainTrainer(transformers.Trainer):  # type: ignore[misc]
    """Teacher and student with eager attention, all of whose maps and states come out; the rest is the library's.

    What is not named here is the library's default: random order, padding to a batch's longest text, fused AdamW.
    """

    def __init__(
        self, room: Room, precision: Literal["fp32", "bf16"], texts: int, accumulation: int, steps: int
    ) -> None:
        """Load both models.

        Args:
            room: Models and text.
            precision: ``bf16`` is autocast, of the teacher too.
            texts: Of a batch.
            accumulation: Batches of a step.
            steps: In all.
        """
        with quiet_transformers():
            teacher, student = (eager(path) for path in (room.teacher, room.student))
            tokenizer = transformers.AutoTokenizer.from_pretrained(room.teacher, local_files_only=True)
        set_dropout_to_zero(student)
        self.teacher = teacher.eval().requires_grad_(False)
        self.layer_map = room.layers
        self.tokens: list[int] = []
        self.places: list[int] = []
        self.clock = Clock()
        super().__init__(
            model=student,
            args=transformers.TrainingArguments(
                output_dir=str(room.path / "trainer"),
                per_device_train_batch_size=texts,
                gradient_accumulation_steps=accumulation,
                max_steps=steps,
                learning_rate=RATE,
                weight_decay=DECAY,
                max_grad_norm=MAX_NORM,
                bf16=precision == "bf16",
                use_cpu=True,
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
            ),
            train_dataset=Texts(room),
            data_collator=transformers.DataCollatorForLanguageModeling(tokenizer, mlm_probability=MASKED),
            callbacks=[self.clock],
        )
        self.remove_callback(transformers.PrinterCallback)
        # The loss is a mean over a batch, whatever the encoder's signature makes the library think of it.
        self.model_accepts_loss_kwargs = False

    def compute_loss(self, model: Any, inputs: dict[str, Tensor], *_: Any, **__: Any) -> Tensor:
        """The sum of both losses."""
        return torch.stack(self.parts(model, inputs)).sum()

    def parts(self, model: Any, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Mean squared errors of hidden states and of attention maps, padding left out."""
        seen = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        mask = seen["attention_mask"]
        self.tokens.append(int(mask.sum()))
        self.places.append(mask.numel())
        with torch.no_grad(), self.accelerator.autocast():
            told = self.teacher(**seen, output_hidden_states=True, output_attentions=True)
        said = model(**seen, output_hidden_states=True, output_attentions=True)
        hidden = [
            masked_mse(said.hidden_states[own], told.hidden_states[other], mask[..., None])
            for own, other in self.layer_map.hidden
        ]
        both = (mask[:, :, None] * mask[:, None, :])[:, None]  # (B, 1, n, n)
        attention = [
            masked_mse(said.attentions[own], told.attentions[other], both)
            for own, other in self.layer_map.attention
        ]
        return [torch.stack(hidden).mean(), torch.stack(attention).mean()]

    def losses(self, batch: Batch) -> list[float]:
        """Of a batch, nothing learnt from it: hidden states, attention."""
        model = self.accelerator.prepare_model(self.model, evaluation_mode=True)
        with torch.no_grad():
            return [float(each) for each in self.parts(model, batch.inputs())]


def masked_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """The mean of squares where a mask, that broadcasts to the values, is 1."""
    squares = (student.float() - teacher.float()).square() * mask
    return squares.sum() / (mask.sum() * (student.numel() // mask.numel()))


def eager(path: Path) -> Any:
    """A model whose attention returns its maps."""
    return transformers.AutoModel.from_pretrained(
        path, attn_implementation="eager", dtype=torch.float32, local_files_only=True
    )


def run_trainer(
    room: Room, precision: Literal["fp32", "bf16"], texts: int, accumulation: int, steps: int, warm_up: int
) -> dict[str, float]:
    """Train for some steps, the clock running after the first few; see ``distil.py`` for what is told."""
    trainer = PlainTrainer(room, precision, texts, accumulation, steps)
    trainer.train()
    ends, before = trainer.clock.ends, warm_up * accumulation
    return {
        "seconds": ends[-1] - ends[warm_up - 1],
        "tokens": sum(trainer.tokens[before:]),
        "places": sum(trainer.places[before:]),
        "peak_mib": trainer.clock.peak_mib,
    }
