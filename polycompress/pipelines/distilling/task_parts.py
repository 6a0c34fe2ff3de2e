"""The parts of a task's sparse tuning: what is frozen, what may move, the loss with or without a teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from polycompress.distill.shelf import Shelf
from polycompress.errors import InputError
from polycompress.pipelines.distilling.loss_specs import LossSpec
from polycompress.pipelines.distilling.losses import make_losses
from polycompress.pipelines.distilling.pair import Pair
from polycompress.pipelines.distilling.teacher_samples import sample_states, some_items
from polycompress.pipelines.tuning.config import FinetuneConfig
from polycompress.pipelines.tuning.inputs import FinetuneInputs
from polycompress.pipelines.tuning.parts import Tuned
from polycompress.training.config import OptimiserConfig
from polycompress.training.devices import Devices
from polycompress.training.distilling import Distillation
from polycompress.training.distilling_inputs import Inputs, TaskInputs
from polycompress.training.distilling_task import DistillationTask
from polycompress.training.items import Items
from polycompress.training.keeping import KeptInputs
from polycompress.training.model import make_table_sparse
from polycompress.training.optimisers import SplitAdamW, norm_ids, param_groups
from polycompress.training.own_tokens import OwnTokenInputs, OwnTokens
from polycompress.training.parameter_groups import HEAD, at_rates, name_groups
from polycompress.training.rows import find_tables
from polycompress.training.sparse_tuning import L1, SparseTuning, bool_masks, masked_groups
from polycompress.training.task_loss import FineTuning, TaskLoss
from polycompress.training.task_model import HeadedModel
from polycompress.training.teachers import Further

Chosen = Mapping[str, NDArray[np.int64]]
"""Flat places of the weights that may move, by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Taught:
    """A teacher of a task, and what is learnt of it."""

    model: Any
    """With its head, on the run's device; None where no objective asks a teacher."""
    rows: Tensor | None
    """(V,) its id of each of the student's tokens, where they differ."""
    layers: tuple[int, ...]
    """Its layer for each of the student's."""
    losses: tuple[LossSpec, ...]
    others: tuple[Further, ...] = ()
    """Second and later teachers, on the run's device."""
    own: OwnTokens | None = None
    """Examples of teachers that have tokenizers of their own."""
    keep: Callable[[Distillation, Items], Shelf] | None = None
    """Keeps what it says of all examples, before they are learnt from; None: it is asked each time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SparseMaker:
    """Puts loss and optimiser around a model of which some weights, or all, may move."""

    taught: Taught | None
    """None: gold labels alone."""
    chosen: Chosen | None
    """None: all of the base may move."""
    freeze_norms: bool
    l1: float = 0.0

    def __call__(
        self,
        inputs: FinetuneInputs,
        loaded: HeadedModel,
        config: FinetuneConfig,
        head_factor: float,
        settings: OptimiserConfig,
        items: Items,
        devices: Devices,
    ) -> Tuned:
        """See ``tuning.run.Maker``."""
        model = loaded.model
        parameters = dict(model.named_parameters())
        if self.freeze_norms:
            for name in base_norms(model):
                parameters[name].requires_grad_(False)
        frozen = sum(each.numel() for each in parameters.values() if not each.requires_grad)
        is_sparse = make_table_sparse(model)
        parameters = dict(model.named_parameters())
        masks = bool_masks(parameters, self.chosen) if self.chosen is not None else {}
        if self.taught is None:
            plain = TaskLoss(model, loaded.head)
            module = devices.wrap(plain, find_tables(plain))
            optimiser = self._optimiser(model, masks, model, head_factor, settings)
            task = FineTuning(plain, module, items, device=devices.device, is_sparse=is_sparse)
            return Tuned(task=task, optimiser=optimiser, model=model, frozen=frozen)
        shown: Inputs = TaskInputs(items, loaded.head)
        if self.taught.own is not None:
            shown = OwnTokenInputs(TaskInputs(items, loaded.head), self.taught.own)
        distillation = self._distillation(model, config, inputs, items, shown, devices)
        if self.taught.keep is not None:
            shown = KeptInputs(shown, self.taught.keep(distillation, items), distillation.rows)
        module = devices.wrap(
            distillation, find_tables(distillation), is_partly_used=not distillation.reaches_head
        )
        optimiser = self._optimiser(distillation, masks, model, head_factor, settings)
        distilling = DistillationTask(distillation, module, shown, device=devices.device, is_sparse=is_sparse)
        return Tuned(
            task=distilling, optimiser=optimiser, model=distillation, frozen=frozen, watcher=distilling
        )

    def _distillation(
        self,
        model: Any,
        config: FinetuneConfig,
        inputs: FinetuneInputs,
        items: Items,
        shown: Inputs,
        devices: Devices,
    ) -> Distillation:
        taught = self.taught
        assert taught is not None
        teacher, others = taught.model, taught.others

        def samples(layers: Sequence[int]) -> list[Tensor]:
            return sample_states(
                [Further(model=teacher, rows=taught.rows), *others],
                layers,
                some_items(items, inputs.ready.encoder.pad_id),
                shown,
                device=devices.device,
                precision=inputs.ready.precision,
            )

        pair = Pair(
            student=model.config,
            teacher=model.config if teacher is None else teacher.config,
            layers=taught.layers,
            steps=config.steps or 1,
            model=model,
            others=tuple(each.model.config for each in others),
            samples=samples,
            vector_width=int(teacher.config.hidden_size) if taught.keep is not None else None,
        )
        return Distillation(model, teacher, make_losses(taught.losses, pair), taught.rows, others=others)

    def _optimiser(
        self,
        trained: nn.Module,
        masks: Mapping[nn.Parameter, Tensor],
        model: Any,
        head_factor: float,
        settings: OptimiserConfig,
    ) -> SplitAdamW:
        heads = set(name_groups(model).groups[HEAD])
        groups = at_rates(
            param_groups(trained, settings.weight_decay),
            [parameter for name, parameter in model.named_parameters() if name in heads],
            head_factor,
        )
        optimiser = SplitAdamW(
            masked_groups(groups, masks),
            lr=settings.learning_rate,
            betas=(settings.beta1, settings.beta2),
            eps=settings.eps,
            second_moment=settings.second_moment,
        )
        optimiser.restriction = SparseTuning(masks=masks, l1=self._l1(model, heads))
        return optimiser

    def _l1(self, model: Any, heads: set[str]) -> L1 | None:
        if not self.l1:
            return None
        base = {
            name: each for name, each in model.named_parameters() if name not in heads and each.requires_grad
        }
        return L1(
            strength=self.l1,
            total=sum(each.numel() for each in model.parameters()),
            originals={each: each.detach().clone() for each in base.values()},
        )


def base_names(model: Any) -> list[str]:
    """Parameters below the head."""
    heads = set(name_groups(model).groups[HEAD])
    return [name for name, _ in model.named_parameters() if name not in heads]


def base_norms(model: Any) -> list[str]:
    """Parameters of norms below the head."""
    norms = norm_ids(model)
    parameters = dict(model.named_parameters())
    return [name for name in base_names(model) if id(parameters[name]) in norms]


def copy_of(model: Any, names: list[str]) -> dict[str, Tensor]:
    """Some parameters as they are now."""
    parameters = dict(model.named_parameters())
    return {name: parameters[name].detach().clone() for name in names}


def token_rows(student: Mapping[str, int], teacher: Mapping[str, int], size: int) -> Tensor | None:
    """The teacher's id of each of the student's tokens; None where both are the same.

    Args:
        student: Ids by token.
        teacher: Ids by token.
        size: Rows of the student's table.

    Returns:
        (size,) int64; rows that no token has, which pad the table, get 0.

    Raises:
        InputError: The teacher lacks tokens.
    """
    if student == teacher:
        return None
    missing = sorted(token for token in student if token not in teacher)
    if missing:
        shown = ", ".join(map(repr, missing[:3])) + (", ..." if len(missing) > 3 else "")
        raise InputError(
            f"The teacher's vocabulary lacks {len(missing)} of the student's {len(student)} tokens, such as {shown}: "
            "give the model that the student was made from, or one with its tokenizer."
        )
    rows = torch.zeros(size, dtype=torch.int64)
    for token, number in student.items():
        rows[number] = teacher[token]
    return rows
