"""The parts of a fine-tuning: the model with its head, what is frozen, loss and optimiser."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from polycompress.evaluation.records import Kind
from polycompress.evaluation.task_spec import TaskSpec
from polycompress.pipelines.tuning.config import FinetuneConfig
from polycompress.pipelines.tuning.inputs import FinetuneInputs
from polycompress.pipelines.tuning.source_model import SourceModel
from polycompress.training.config import OptimiserConfig
from polycompress.training.devices import Devices
from polycompress.training.items import Items
from polycompress.training.loop import Watcher
from polycompress.training.model import make_table_sparse
from polycompress.training.optimisers import SplitAdamW, param_groups
from polycompress.training.parameter_groups import (
    HEAD,
    Freeze,
    at_rates,
    check_freeze,
    freeze_,
    name_groups,
)
from polycompress.training.rows import find_tables
from polycompress.training.step import Task
from polycompress.training.task_loss import FineTuning, TaskLoss, balanced_weights
from polycompress.training.task_model import HeadedModel, HeadKind, load_with_head

HEADS: Final[Mapping[Kind, HeadKind]] = {
    "pair-classification": "sequence",
    "text-classification": "sequence",
    "token-classification": "token",
    "question-answering": "span",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuned:
    """What is made once for a seed."""

    task: Task
    optimiser: SplitAdamW
    model: nn.Module
    """Whose parameters are saved."""
    frozen: int
    """Parameters that are not trained."""
    watcher: Watcher | None = None


def load_headed(model: SourceModel, task: TaskSpec, seed: int) -> HeadedModel:
    """Load the model with the head of a task; a new head depends on the seed alone.

    Raises:
        InputError: transformers cannot load it.
    """
    with seeded(seed):
        return load_with_head(model.path, model.config, HEADS[task.kind], task.labels, task.id)


def check_model(inputs: FinetuneInputs, loaded: HeadedModel, config: FinetuneConfig) -> None:
    """Refuse what the model cannot follow, before anything is written.

    Raises:
        InputError: It has fewer layers than are to be frozen, or its table lacks rows for the tokenizer's ids.
    """
    check_freeze(name_groups(loaded.model), Freeze.parse(config.freeze))
    rows = int(loaded.model.get_input_embeddings().num_embeddings)
    for part in (*inputs.train, *inputs.dev):
        Items([(part.part.language, part.items)]).check_table(rows)


def hidden_size(model: Any) -> int:
    """Units of a model's hidden states."""
    named = getattr(model.config, "hidden_size", None)
    return int(named) if isinstance(named, int) else int(model.get_input_embeddings().embedding_dim)


def make_parts(
    inputs: FinetuneInputs,
    loaded: HeadedModel,
    config: FinetuneConfig,
    head_factor: float,
    settings: OptimiserConfig,
    items: Items,
    devices: Devices,
) -> Tuned:
    """Freeze what is to be frozen, and put loss and optimiser around the rest.

    Args:
        inputs: Of the run.
        loaded: Its model.
        config: What is frozen, and whether classes are weighed.
        head_factor: Learning rate of the head, in that of the rest.
        settings: Of the optimiser.
        items: What is trained on.
        devices: The processes.
    """
    model = loaded.model
    groups = name_groups(model)
    freeze = Freeze.parse(config.freeze)
    frozen = set(freeze_(model, groups, freeze))
    is_sparse = not freeze.embeddings and make_table_sparse(model)
    objective = TaskLoss(model, loaded.head, _class_weights(config, items, len(inputs.task.labels)))
    module = devices.wrap(objective, find_tables(objective))
    heads = set(groups.groups[HEAD])
    optimiser = SplitAdamW(
        at_rates(
            param_groups(model, settings.weight_decay),
            [parameter for name, parameter in model.named_parameters() if name in heads],
            head_factor,
        ),
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        second_moment=settings.second_moment,
    )
    task = FineTuning(objective, module, items, device=devices.device, is_sparse=is_sparse)
    count = sum(parameter.numel() for name, parameter in model.named_parameters() if name in frozen)
    return Tuned(task=task, optimiser=optimiser, model=model, frozen=count)


def _class_weights(config: FinetuneConfig, items: Items, classes: int) -> torch.Tensor | None:
    if not config.class_weights:
        return None
    labels = np.concatenate([items[number].labels for number in range(len(items))])
    counts = np.bincount(labels[labels >= 0], minlength=classes)
    return torch.from_numpy(balanced_weights(counts)).float()


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's generators begin at a seed inside of the block, and are as they were after it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed % 2**63)
        yield
