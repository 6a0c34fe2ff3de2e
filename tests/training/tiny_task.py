"""A task small enough to be trained in milliseconds: which token was here, from the tokens of the row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from polycompress.kernels.embedding_gradient import SparseEmbedding
from polycompress.training.batches import Batch
from polycompress.training.batching import Batching
from polycompress.training.devices import Devices
from polycompress.training.loader import BatchLoader
from polycompress.training.loop import Parts
from polycompress.training.masking import IGNORED, MaskedLM, Masking
from polycompress.training.metrics import JsonLines, Record, Sinks, Told
from polycompress.training.mixing import LanguageMixer
from polycompress.training.objective import Prepared
from polycompress.training.optimisers import SplitAdamW, param_groups
from tests.training.tiny_examples import FIRST_WORD, write_examples

VOCABULARY, WIDTH, MASK = 60, 8, 3
LENGTHS = {"deu-Latn": [5, 9, 7, 12, 6, 8, 10, 4] * 4, "swh-Latn": [6, 6, 11, 9, 5] * 4}


class TinyModel(nn.Module):  # type: ignore[misc]
    """Table, mean of the row, dropout, output layer."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.table = SparseEmbedding(VOCABULARY, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(WIDTH, VOCABULARY)
        self.rows_limit: int | None = None
        self.poison: int | None = None

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> Tensor:
        if self.rows_limit is not None and len(input_ids) > self.rows_limit:
            raise MemoryError
        found = self.table(input_ids)
        mask = attention_mask.unsqueeze(2).to(found.dtype)
        context = (found * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        logits = self.output(self.dropout(self.norm(found + context)))
        kept = labels != IGNORED
        loss: Tensor = functional.cross_entropy(logits[kept], labels[kept], reduction="sum")
        if self.poison is not None and bool((labels == self.poison).any()):
            loss = loss * float("nan")
        return loss / max(1, int(kept.sum()))


class TinyTask:
    """See the module."""

    def __init__(self, module: TinyModel) -> None:
        self.module = module

    def weight(self, batch: Batch) -> int:
        return batch.labelled

    def prepare(self, batch: Batch) -> Prepared:
        assert batch.labels is not None
        return Prepared(
            {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "labels": batch.labels},
            torch.unique(batch.input_ids),
        )


def make_loader(
    folder: Path, lengths: Mapping[str, Sequence[int]] = LENGTHS, budget: int = 48
) -> BatchLoader:
    """Batches of random masked texts without an end."""
    examples = write_examples(folder, lengths, VOCABULARY)
    objective = MaskedLM(
        masking=Masking(rate=0.4), seed=1, mask_id=MASK, ordinary=np.arange(FIRST_WORD, VOCABULARY)
    )
    return BatchLoader(
        examples,
        LanguageMixer(examples, seed=3),
        Batching(token_budget=budget, window=4),
        pad_id=1,
        objective=objective,
        seed=3,
    )


def make_task(dropout: float = 0.0, **optimiser: Any) -> tuple[TinyTask, SplitAdamW]:
    """A task and the optimiser of its model, the same every time."""
    torch.manual_seed(0)
    model = TinyModel(dropout)
    return TinyTask(model), SplitAdamW(param_groups(model, 0.1), **{"lr": 0.01, **optimiser})


def make_parts(
    out: Path,
    data: Path,
    *,
    after: int = 0,
    dropout: float = 0.2,
    tell: Callable[[Record], None] | None = None,
    **others: Any,
) -> Parts:
    """The parts of a run; ``tell`` is called with each record once it is written."""
    task, optimiser = make_task(dropout)
    out.mkdir(exist_ok=True)
    loader = make_loader(data)
    parts: dict[str, Any] = {
        "task": task,
        "model": task.module,
        "optimiser": optimiser,
        "data": loader,
        "devices": Devices(device="cpu"),
        "metrics": Sinks(
            [JsonLines(out / "metrics.jsonl", after_step=after), *([Told(tell)] if tell else [])]
        ),
        "out": out,
        "identity": {"model": "tiny"},
        "locate": lambda text_id: f"text {text_id}",
    }
    return Parts(**{**parts, **others})


def weights(parts: Parts) -> dict[str, Tensor]:
    """A copy of all parameters, tables with their decay applied."""
    return {name: tensor.clone() for name, tensor in parts.optimiser.exported_state(parts.model).items()}


def same_bits(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """Whether two sets of weights are equal bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
