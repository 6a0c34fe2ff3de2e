"""Multi-exit self-distillation: one head reads several layers of the student, so that it may be cut at any of them.

With exits I, layers L and the loss L_i of the head's logits after layer i:

    loss = sum_{i in I} (i / L) L_i

Deeper exits weigh more; shallow ones still reach the layers that all share. On top of that each exit may be pulled to
what the deepest says (its logits by KL divergence, its states by cosine), of which no gradient comes back.

Exits are counted as hidden states are: exit i reads hidden state i, the output of the first i layers. A student
that is cut to its first i layers (``layers.plan_layers`` with ``layer_map.bottom``) says exactly what exit i says, as
long as nothing follows the last layer: in models that normalise after it (most decoders) the head has to do so for
lower exits.

Reference:
    The weights i / L are those of ModularStarEncoder, known to us from its model card and notes of third parties;
    there is no divergence between exits there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from polycompress.distill.objective import Objective
from polycompress.distill.objectives.divergences import divergence_loss
from polycompress.distill.objectives.hidden import hidden_cosine
from polycompress.distill.objectives.inputs import wide
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.errors import InputError

Head = Callable[[Tensor], Tensor]
"""Hidden states (B, n, d) to logits (..., C)."""
ExitLoss = Callable[[Tensor, Outputs, Given], Tensor]
"""Logits of an exit, what the teacher said, and what both were told, to a scalar."""
_IGNORED = -100


def exit_weights(exits: Sequence[int], layers: int) -> tuple[float, ...]:
    """How much each exit counts: i / L.

    Args:
        exits: Numbers of layers below each, going up, 1 to ``layers``.
        layers: L

    Raises:
        InputError: They are none, out of range, or do not go up.
    """
    shown = ",".join(map(str, exits))
    if not exits:
        raise InputError("multi_exit: there are no exits: name at least one, counted from 1.")
    if any(not 1 <= each <= layers for each in exits):
        raise InputError(
            f"multi_exit: the exits {shown} have to lie between 1 and {layers}, the student's layers."
        )
    if any(low >= high for low, high in itertools.pairwise(exits)):
        raise InputError(f"multi_exit: the exits {shown} do not go up: name each once, the deepest last.")
    return tuple(each / layers for each in exits)


def label_loss(logits: Tensor, teacher: Outputs, given: Given) -> Tensor:
    """Mean cross-entropy with the labels that there are.

    Args:
        logits: (..., C)
        teacher: Not asked.
        given: With labels (...).

    Raises:
        InputError: There are no labels.
    """
    if given.labels is None:
        raise InputError(
            "multi_exit: the batch has no labels. Give a loss that does not need any, or labels."
        )
    there = given.labels != _IGNORED
    if logits.shape[:-1] != there.shape:
        raise InputError(
            f"multi_exit: labels of shape {tuple(there.shape)} do not fit logits of shape {tuple(logits.shape)}."
        )
    total = functional.cross_entropy(wide(logits[there]), given.labels[there], reduction="sum")
    loss: Tensor = total / max(1, int(there.sum()))
    return loss


class MultiExit(Objective):
    """The weighted sum of the losses of all exits."""

    def __init__(
        self,
        exits: Sequence[int],
        layers: int,
        head: Head,
        loss: ExitLoss = label_loss,
        *,
        teacher_needs: Needs | None = None,
        divergence_weight: float = 0.0,
        cosine_weight: float = 0.0,
        temperature: float = 1.0,
    ) -> None:
        """Say what the exits are.

        Args:
            exits: Numbers of layers below each, going up; the last is the deepest.
            layers: Of the student.
            head: The student's own, shared by all exits. It stays the student's: this module neither saves nor counts
                its parameters.
            loss: Of one exit's logits.
            teacher_needs: What the loss asks of a teacher; None: nothing, and there need not be one.
            divergence_weight: How much the KL divergence from the deepest exit adds at each other one.
            cosine_weight: How much ``hidden_cosine`` with its states adds.
            temperature: Of the divergence.

        Raises:
            InputError: A value is out of range; all faults are named.
        """
        super().__init__()
        faults = []
        if not 0.0 < temperature < float("inf"):
            faults.append(f"temperature={temperature} has to be above 0")
        if divergence_weight < 0.0 or cosine_weight < 0.0:
            faults.append(f"the weights {divergence_weight} and {cosine_weight} must not be below 0")
        if faults:
            raise InputError(f"multi_exit: {'; '.join(faults)}.")
        self.exits, self.weights = tuple(exits), exit_weights(exits, layers)
        self.divergence_weight, self.cosine_weight = divergence_weight, cosine_weight
        self.temperature, self._loss = temperature, loss
        self._head = (head,)  # inside a tuple it does not become a part of this module
        self.student_needs = Needs(hidden=frozenset(exits))
        self.teacher_needs = teacher_needs if teacher_needs is not None else Needs()

    def forward(self, student: Outputs, teacher: Outputs, given: Given) -> Tensor:
        """The loss, a scalar."""
        # A head's gradient is a product with the states, padding and all.
        states = [student.hidden[each].masked_fill(~given.mask[..., None], 0.0) for each in self.exits]
        logits = [self._head[0](each) for each in states]
        total = torch.zeros((), device=given.mask.device)
        for number, weight in enumerate(self.weights):
            loss = self._loss(logits[number], teacher, given)
            if number + 1 < len(self.exits):
                loss = loss + self._pull(logits[number], logits[-1], states[number], states[-1], given)
            total = total + weight * loss
        return total

    def _pull(
        self, logits: Tensor, last_logits: Tensor, states: Tensor, last_states: Tensor, given: Given
    ) -> Tensor:
        """What the deepest exit asks of a lower one."""
        pull = torch.zeros((), device=logits.device)
        if self.divergence_weight:
            counts = given.valid
            if counts is None and given.labels is not None and given.labels.shape == logits.shape[:-1]:
                counts = given.labels != _IGNORED
            if counts is None and logits.shape[:-1] == given.mask.shape:
                counts = given.mask
            divergence = divergence_loss(logits, last_logits, counts, temperature=self.temperature)
            pull = pull + self.divergence_weight * divergence
        if self.cosine_weight:
            pull = pull + self.cosine_weight * hidden_cosine(states, last_states, given.mask)
        return pull
