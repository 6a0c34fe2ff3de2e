"""Distillation as training sees it: a student, frozen teachers and weighted objectives as one module and one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from polycompress.distill.capture import Watched
from polycompress.distill.kept import as_outputs
from polycompress.distill.objective import Objective
from polycompress.distill.objectives.unequal import UnequalLogits
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.training.batches import Batch
from polycompress.training.devices import Devices
from polycompress.training.items import Items
from polycompress.training.masking import IGNORED
from polycompress.training.objective import Prepared
from polycompress.training.task_loss import labelled, stack_labels, stack_types
from polycompress.training.task_model import HeadKind


@dataclass(frozen=True, kw_only=True, slots=True)
class Weighted:
    """An objective, what it is called in the log, and how much it counts."""

    name: str
    objective: Objective
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Further:
    """A second, third or later teacher."""

    model: Any
    """Of transformers."""
    rows: Tensor | None = None
    """(V,) its id of each of the student's tokens, where they differ."""


class Distillation(nn.Module):  # type: ignore[misc]
    """A student, and what it is told to learn of a teacher.

    The teacher is no part of the module: it is neither trained, nor wrapped, nor saved.
    """

    def __init__(
        self,
        student: Any,
        teacher: Any,
        losses: Sequence[Weighted],
        rows: Tensor | None = None,
        *,
        adapted: Sequence[Any] = (),
        at_places: bool = False,
        others: Sequence[Further] = (),
    ) -> None:
        """Take over both models; the student's parameters stay the same objects.

        Args:
            student: Of transformers.
            teacher: Of transformers; it is frozen, and stays in eval mode. None where no objective asks one, or where
                what it said comes with each batch.
            losses: At least one.
            rows: (V,) the teacher's id of each of the student's tokens, where they differ.
            adapted: Further teachers of the same shape, for texts of which it is said, see ``forward``.
            at_places: Whether logits are over a vocabulary, and asked for where they count alone.
            others: Further teachers of all texts, in the order in which objectives of several teachers ask them.

        Raises:
            InputError: A model cannot show what an objective asks for.
        """
        super().__init__()
        self.student = student
        self.objectives = nn.ModuleList([each.objective for each in losses])
        self.names = tuple(each.name for each in losses)
        self.weights = tuple(each.weight for each in losses)
        needs = union(each.objective.teacher_needs for each in losses)
        own_needs = union(each.objective.student_needs for each in losses)
        self._watched = Watched(student, own_needs, "student", at_places=at_places)
        self._teachers = tuple(
            Watched(freeze(each), needs, "teacher", at_places=at_places)
            for each in (teacher, *adapted)
            if each is not None
        )
        self._others = tuple(
            Watched(freeze(other.model), needs_of(losses, place), f"teacher {place + 1}", at_places=at_places)
            for place, other in enumerate(others, start=1)
        )
        for place, other in enumerate(others):
            self.register_buffer(f"other_rows_{place}", other.rows, persistent=False)
        self.at_places = at_places
        self.measured = [0.0] * len(losses)
        """Of each objective, the loss summed over what was weighed since they were taken."""
        self.weighed = 0.0
        self.register_buffer("rows", rows, persistent=False)

    @property
    def teachers(self) -> tuple[Any, ...]:
        """The teachers."""
        return tuple(watched.model for watched in (*self._teachers, *self._others))

    @property
    def reaches_head(self) -> bool:
        """Whether the student's answers are compared; otherwise what only they need gets no gradient."""
        return any(objective.student_needs.logits for objective in self.objectives)

    def let_go_of_teachers(self) -> None:
        """Free the teachers' memory, whoever else holds them: what they said comes with each batch from now on."""
        for watched in self._teachers:
            watched.model.to("meta")
        self._teachers = ()

    @property
    def teacher(self) -> Any:
        """The first of them."""
        return self.teachers[0]

    def forward(
        self,
        inputs: Mapping[str, Tensor],
        weight: float,
        valid: Tensor | None = None,
        labels: Tensor | None = None,
        taught_by: Tensor | None = None,
        own_inputs: Sequence[Mapping[str, Tensor] | None] | None = None,
        words: Sequence[Tensor] | None = None,
        kept: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """The weighted sum of the objectives.

        Args:
            inputs: What both models take; (B, n) each.
            weight: Over how many things the batch's loss is a mean.
            valid: Where logits count; see ``Given``.
            labels: See ``Given``.
            taught_by: (B,) number of the teacher of each text; None: the first one of all.
            own_inputs: Of each teacher what it is shown instead of the student's tokens; None: these.
            words: (B, W, n) of the student and of each teacher, see ``Outputs.words``.
            kept: What a teacher said of these texts before, see ``distill.kept``; then none is asked.
        """
        places: Tensor | None = None
        if self.at_places and valid is not None:  # what is left is valid, all of it
            places = valid.reshape(-1).nonzero().squeeze(1)
            labels = None if labels is None else labels.reshape(-1)[places]
            valid = None
        with torch.no_grad():
            if kept is None:
                own = own_inputs[0] if own_inputs is not None else None
                shown = in_ids_of(inputs, self.rows) if own is None else own
                every = [
                    self._told(shown, taught_by, places),
                    *self._others_told(inputs, own_inputs, places),
                ]
            else:
                every = [as_outputs(kept)]
        said = self._watched(inputs, places)
        if words is not None:
            said, *every = (replace(each, words=own) for each, own in zip((said, *every), words, strict=True))
        told = every[0]
        given = Given(mask=inputs["attention_mask"] != 0, valid=valid, labels=labels, others=tuple(every[1:]))
        losses = [objective(said, told, given) for objective in self.objectives]
        if self.training:
            for number, loss in enumerate(losses):
                self.measured[number] += float(loss.detach()) * weight
            self.weighed += weight
        return torch.stack([loss * share for loss, share in zip(losses, self.weights, strict=True)]).sum()

    def _told(self, inputs: Mapping[str, Tensor], taught_by: Tensor | None, places: Tensor | None) -> Outputs:
        """What each text's teacher says; nothing where there is none."""
        if not self._teachers:
            return Outputs()
        if taught_by is None:
            return self._teachers[0](inputs, places)
        assert places is None, "texts' own teachers answer nothing"
        parts = []
        for number in torch.unique(taught_by).tolist():
            places = (taught_by == number).nonzero().squeeze(1)
            own = {name: tensor[places] for name, tensor in inputs.items()}
            parts.append((places, self._teachers[number](own)))
        return together(parts)

    def _others_told(
        self,
        inputs: Mapping[str, Tensor],
        own_inputs: Sequence[Mapping[str, Tensor] | None] | None,
        places: Tensor | None,
    ) -> list[Outputs]:
        """What the second and later teachers say."""
        found = []
        for place, watched in enumerate(self._others):
            own = own_inputs[place + 1] if own_inputs is not None else None
            rows = getattr(self, f"other_rows_{place}")
            found.append(watched(in_ids_of(inputs, rows) if own is None else own, places))
        return found


class Inputs(Protocol):
    """What a batch becomes before both models see it, and what objectives are told of it."""

    def weight(self, batch: Batch) -> int:
        """Over how many things the batch's loss is a mean."""

    def __call__(self, batch: Batch) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """What the student takes, and what else ``Distillation.forward`` is told."""


class TextInputs:
    """Batches of text: a loss is a mean over tokens."""

    def __init__(self, languages: Sequence[str] = ()) -> None:
        """Say whose teachers there are.

        Args:
            languages: That have a teacher of their own, in the order of these; the first teacher has all others.
        """
        self._teachers = {code: number for number, code in enumerate(languages, start=1)}

    def weight(self, batch: Batch) -> int:
        """Tokens without padding."""
        return batch.tokens

    def __call__(self, batch: Batch) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """The batch as it is, and each text's teacher."""
        if not self._teachers:
            return batch.inputs(), {}
        return batch.inputs(), {
            "taught_by": torch.tensor([self._teachers.get(code, 0) for code in batch.languages])
        }


class TaskInputs:
    """Batches of a task's examples: a loss is a mean over what ``FineTuning`` takes it over."""

    def __init__(self, items: Items, head: HeadKind) -> None:
        """Join what belongs together.

        Args:
            items: That the batches' texts are the numbers of.
            head: Of both models.
        """
        self.items, self.head = items, head

    def weight(self, batch: Batch) -> int:
        """Over how many texts, tags or windows a batch's loss is a mean."""
        return labelled(self.items, batch, self.head)

    def __call__(self, batch: Batch) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        """The batch, its labels, and where logits count."""
        chosen = [self.items[number] for number in batch.text_ids]
        labels = stack_labels(chosen, self.head, batch.input_ids.shape[1])
        told = {"labels": labels}
        if self.head == "token":
            told["valid"] = labels != IGNORED
        return {**batch.inputs(), **stack_types(chosen, batch.input_ids.shape[1])}, told


class DistillationTask:
    """Batches to the module's arguments, and steps to what objectives are told."""

    def __init__(
        self,
        distillation: Distillation,
        module: nn.Module,
        inputs: Inputs,
        *,
        device: torch.device,
        is_sparse: bool,
    ) -> None:
        """Join what belongs together.

        Args:
            distillation: The losses.
            module: The same, perhaps wrapped.
            inputs: What batches become.
            device: Where the module is.
            is_sparse: Whether the student's table has to be told which rows will be read.
        """
        self.distillation, self.module, self.inputs = distillation, module, inputs
        self.device, self.is_sparse = device, is_sparse
        self._sums = [0.0] * len(distillation.names)
        self._lost: dict[str, float] = {}
        self._steps = 0

    def weight(self, batch: Batch) -> int:
        """Over how many things a batch's loss is a mean."""
        return self.inputs.weight(batch)

    def prepare(self, batch: Batch) -> Prepared:
        """Arguments of the module, and the rows of the student's table that it will read."""
        inputs, told = self.inputs(batch)
        rows = torch.unique(batch.input_ids).to(self.device) if self.is_sparse else None
        arguments: dict[str, Any] = {
            "inputs": moved(inputs, self.device),
            "weight": float(self.weight(batch)),
            **moved(told, self.device),
        }
        return Prepared(arguments, rows)

    def after_step(self, devices: Devices) -> None:
        """Tell each objective its mean loss over the step; all processes have to."""
        own = self.distillation
        *sums, weighed = devices.total([*own.measured, own.weighed])
        own.measured, own.weighed = [0.0] * len(sums), 0.0
        for number, total in enumerate(sums):
            loss = total / max(weighed, 1.0)
            own.objectives[number].after_step(loss)
            self._sums[number] += loss
        for objective in own.objectives:
            if isinstance(objective, UnequalLogits):
                lost = objective.take_lost_mass()
                for who, mass in zip(lost, devices.total(list(lost.values())), strict=True):
                    self._lost[who] = self._lost.get(who, 0.0) + mass / devices.world_size
        self._steps += 1

    def figures(self) -> dict[str, float]:
        """The mean since the last call of each objective's loss, and of mass that is lost, for the log."""
        means = {
            f"loss_{name}": total / max(1, self._steps)
            for name, total in zip(self.distillation.names, self._sums, strict=True)
        }
        means |= {f"lost_mass_{who}": total / max(1, self._steps) for who, total in self._lost.items()}
        self._sums, self._lost, self._steps = [0.0] * len(self._sums), {}, 0
        return means


def in_ids_of(inputs: Mapping[str, Tensor], rows: Tensor | None) -> Mapping[str, Tensor]:
    """The same tokens by a teacher's ids, (V,) of which are given; None: they have the same."""
    return inputs if rows is None else {**inputs, "input_ids": rows[inputs["input_ids"]]}


def needs_of(losses: Sequence[Weighted], place: int) -> Needs:
    """What objectives of several teachers ask of one of them, numbered from 0."""
    asked = (getattr(each.objective, "every_teacher_needs", ()) for each in losses)
    return union(needs[place] for needs in asked if len(needs) > place)


def moved(value: Any, device: torch.device) -> Any:
    """Tensors on another device, in lists and mappings as they are."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {name: moved(each, device) for name, each in value.items()}
    return [moved(each, device) for each in value] if isinstance(value, list | tuple) else value


def union(needs: Any) -> Needs:
    """What all of some needs ask for."""
    whole = Needs()
    for each in needs:
        whole |= each
    return whole


def together(parts: Sequence[tuple[Tensor, Outputs]]) -> Outputs:
    """Outputs of a batch from those of parts of it.

    Args:
        parts: (b,) places of texts in the batch, and what was said of them. All were padded to one width.
    """
    order = torch.cat([places for places, _ in parts]).argsort()

    def joined(tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(tensors))[order]

    first = parts[0][1]
    found: dict[str, Any] = {
        name: {
            layer: joined([getattr(part, name)[layer] for _, part in parts]) for layer in getattr(first, name)
        }
        for name in ("hidden", "queries", "keys", "values")
    }
    logits = [part.logits for _, part in parts if part.logits is not None]
    return Outputs(**found, logits=joined(logits) if logits else None)


def freeze(model: Any) -> Any:
    """Put a model into eval mode, without gradients; itself."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.eval()


def round_linear_(model: nn.Module) -> None:
    """Round the weights of linear layers to bf16 once, as autocast would before each product; results stay the same.

    A head's table that is the input table as well stays as it is: nothing is rounded where rows are looked up.
    """
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for module in model.modules():
        if isinstance(module, nn.Linear) and id(module.weight) not in tables:
            module.weight.data = module.weight.data.bfloat16()
            if module.bias is not None:
                module.bias.data = module.bias.data.bfloat16()
