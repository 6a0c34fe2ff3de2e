"""A student, frozen teachers and weighted objectives as one module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from polycompress.distill.capture import Watched
from polycompress.distill.kept import as_outputs
from polycompress.distill.objective import Objective
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.training.teachers import Further, freeze, in_ids_of, together


@dataclass(frozen=True, kw_only=True, slots=True)
class Weighted:
    """An objective, what it is called in the log, and how much it counts."""

    name: str
    objective: Objective
    weight: float = 1.0


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
            Watched(
                freeze(other.model),
                asked := needs_of(losses, place),
                f"teacher {place + 1}",
                at_places=at_places and asked.logits,
            )
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
        student_inputs: Mapping[str, Tensor] | None = None,
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
            student_inputs: What the student alone takes besides.
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
                every = [as_outputs(kept, places)]
        said = self._watched({**inputs, **(student_inputs or {})}, places)
        if own_inputs is not None:
            every = [
                each if own is None else replace(each, mask=own["attention_mask"] != 0)
                for each, own in zip(every, own_inputs, strict=True)
            ]
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


def needs_of(losses: Sequence[Weighted], place: int) -> Needs:
    """What objectives of several teachers ask of one of them, numbered from 0."""
    asked = (getattr(each.objective, "every_teacher_needs", ()) for each in losses)
    return union(needs[place] for needs in asked if len(needs) > place)


def union(needs: Any) -> Needs:
    """What all of some needs ask for."""
    whole = Needs()
    for each in needs:
        whole |= each
    return whole
