"""What a fine-tuning begins with: the model, found and checked, and its examples in tokens."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from polycompress.evaluation.models import TaskModel
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.languages import Language
from polycompress.pipelines.tuning.config import FinetuneConfig, TrainingPlan
from polycompress.pipelines.tuning.data import EncodedPart, TaskData, by_language, encode_part
from polycompress.pipelines.tuning.source_model import SourceModel
from polycompress.training.items import Item, Items

_WITHOUT_EFFECT = ("log_every", "snapshot_every", "device")
"""Settings that decide nothing about the weights, and may change when a run is taken up again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneRequest:
    """What is asked for, checked."""

    task: TaskSpec
    languages: tuple[Language, ...]
    """To learn it in."""
    data: Path | None
    """A data directory; None: the hub."""
    limit: int | None
    """Of the training examples of each part, the first so many."""
    config: FinetuneConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class FinetuneInputs:
    """Everything that all seeds of a fine-tuning share."""

    model: SourceModel
    request: FinetuneRequest
    ready: TaskModel
    """Everything for a forward pass but the model."""
    train: tuple[EncodedPart, ...]
    dev: tuple[EncodedPart, ...]
    notes: tuple[str, ...]

    @property
    def task(self) -> TaskSpec:
        """Which."""
        return self.request.task

    def train_items(self) -> list[tuple[str, list[Item]]]:
        """What is trained on, by language."""
        return by_language(self.train)

    @property
    def examples(self) -> int:
        """How many are trained on."""
        return sum(len(part.examples) for part in self.train)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row that is trained on."""
        return [len(row) for part in self.train for row in part.encoded]

    def counts(self) -> dict[str, dict[str, int]]:
        """Examples of each part, for the record."""
        return {
            "train": {str(part.part): len(part.examples) for part in self.train},
            "dev": {str(part.part): len(part.examples) for part in self.dev},
        }


def encode_inputs(
    model: SourceModel,
    request: FinetuneRequest,
    found: TaskData,
    ready: TaskModel,
) -> FinetuneInputs:
    """Turn what was read into tokens.

    Raises:
        InputError: The tokenizer refuses an example.
    """
    train, dev = (
        tuple(encode_part(ready.encoder, part, examples, request.config.stride) for part, examples in parts)
        for parts in (found.train, found.dev)
    )
    return FinetuneInputs(
        model=model,
        request=request,
        ready=dataclasses.replace(ready, model=None),
        train=train,
        dev=dev,
        notes=found.notes,
    )


def identity_of(inputs: FinetuneInputs, config: FinetuneConfig, plan: TrainingPlan) -> Mapping[str, Any]:
    """What decides the weights that come out: another value of any, another run."""
    settings = asdict(config)
    for name in _WITHOUT_EFFECT:
        settings.pop(name)
    identity: Mapping[str, Any] = json.loads(
        json.dumps(
            {
                "model": dict(inputs.model.hashes),
                "task": inputs.task.id,
                "labels": list(inputs.task.labels),
                "languages": [language.code for language in inputs.request.languages],
                "examples": {
                    "train": Items(inputs.train_items()).fingerprint(),
                    "dev": Items(by_language(inputs.dev)).fingerprint(),
                },
                "plan": asdict(plan),
                **settings,
                "max_length": inputs.ready.encoder.max_length,
                "precision": inputs.ready.precision,
            }
        )
    )
    return identity
