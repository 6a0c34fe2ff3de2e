"""Several teachers at once: their hidden states or their classes are averaged, and the student learns the average.

With weights w_t that sum to 1, tau the temperature, P_t a fixed projection of teacher t's states to one common space
and W the student's way there, trained along where it is wider or narrower:

    hidden      loss = mean of (W h_S - sum_t w_t P_t h_t)^2
    classes     loss = tau^2 KL(sum_t w_t softmax(z_t / tau) || softmax(z_S / tau))

The projections of teachers are fixed because the student could otherwise be met by shrinking them; they turn the
teachers towards each other (``teacher_space.align_teachers``), since the average of states in unrelated directions
means nothing.

Teachers with other vocabularies cut a text into other tokens, so that these cannot be compared one by one. Then every
model's states, or its probabilities of tokens' classes, are averaged to words first (``Outputs.words``, made by
``alignment``); distributions over pieces of different vocabularies are never mixed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from polycompress.distill.objective import Objective, masked_mean
from polycompress.distill.objectives.divergences import kl
from polycompress.distill.objectives.inputs import wide
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.errors import InputError


def check_weights(weights: Sequence[float]) -> tuple[float, ...]:
    """Teachers' weights, divided by their sum.

    Raises:
        InputError: There are none, one is below 0, or all are 0.
    """
    if not weights or min(weights) < 0.0 or not 0.0 < sum(weights) < float("inf"):
        raise InputError(
            f"multi_teacher: weights {list(weights)}: give one for each teacher, 0 or above, not all 0."
        )
    return tuple(weight / sum(weights) for weight in weights)


def to_words(tokens: Tensor, words: Tensor) -> Tensor:
    """Averages over the tokens of each word.

    Args:
        tokens: (B, n, d) states or probabilities.
        words: (B, W, n) rows that sum to 1, or to 0 where there is no word.

    Returns:
        (B, W, d) fp32 or wider.
    """
    used = (words > 0).any(dim=1)[..., None]
    tokens = wide(tokens).masked_fill(~used, 0.0)  # padding may be anything
    return words.to(tokens.dtype) @ tokens


def mix_states(states: Sequence[Tensor], projections: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The weighted average of projected states.

    Args:
        states: (..., d_t) of each teacher.
        projections: (d_t, d) of each.
        weights: That sum to 1.

    Returns:
        (..., d) fp32 or wider, without gradients.
    """
    parts = [
        weight * (wide(state.detach()) @ projection.to(wide(state).dtype))
        for state, projection, weight in zip(states, projections, weights, strict=True)
    ]
    return torch.stack(parts).sum(dim=0)


def mix_classes(probabilities: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """The weighted average of distributions.

    Args:
        probabilities: (..., C) of each teacher.
        weights: That sum to 1.

    Returns:
        (..., C) without gradients.
    """
    parts = [weight * each.detach() for each, weight in zip(probabilities, weights, strict=True)]
    return torch.stack(parts).sum(dim=0)


class MixedHidden(Objective):
    """The student's states against the average of several teachers' projected ones; see the head of this module."""

    def __init__(
        self,
        student_layer: int,
        teacher_layers: Sequence[int],
        projections: Sequence[Tensor],
        *,
        student_width: int,
        weights: Sequence[float] | None = None,
        seed: int = 0,
    ) -> None:
        """Say what is mixed.

        Args:
            student_layer: Number of the student's hidden state.
            teacher_layers: Number of each teacher's.
            projections: (d_t, d) of each teacher, which stay as they are; see ``teacher_space.align_teachers``.
            student_width: Units of the student's states; where it is not d a projection is trained along.
            weights: Of the teachers; None: all alike.
            seed: Of the student's projection.

        Raises:
            InputError: The numbers of teachers disagree, or the projections' spaces do.
        """
        super().__init__()
        self.weights = check_weights([1.0] * len(teacher_layers) if weights is None else weights)
        widths = {each.shape[1] for each in projections}
        faults = []
        if not len(teacher_layers) == len(projections) == len(self.weights):
            faults.append(
                f"{len(teacher_layers)} layers, {len(projections)} projections and {len(self.weights)} weights are not "
                "of the same teachers"
            )
        if len(widths) != 1:
            faults.append(f"the projections lead to spaces of {sorted(widths)} units: let it be one")
        if faults:
            raise InputError(f"multi_teacher: {'; '.join(faults)}.")
        self.student_layer, self.teacher_layers = student_layer, tuple(teacher_layers)
        self.student_needs = Needs(hidden=frozenset({student_layer}))
        self.every_teacher_needs = tuple(Needs(hidden=frozenset({layer})) for layer in teacher_layers)
        self.teacher_needs = self.every_teacher_needs[0]
        for number, projection in enumerate(projections):
            self.register_buffer(f"projection_{number}", projection.detach().float().clone())
        (width,) = widths
        self.of_student: nn.Parameter | None = None
        if student_width != width:
            self.of_student = nn.Parameter(torch.empty(width, student_width))
            nn.init.orthogonal_(self.of_student, generator=torch.Generator().manual_seed(seed))

    def forward(self, student: Outputs, teacher: Outputs, given: Given) -> Tensor:
        """The loss, a scalar; the second and later teachers are ``Given.others``."""
        teachers = check_teachers(teacher, given, len(self.teacher_layers))
        own = student.hidden[self.student_layer]
        states = [each.hidden[layer] for each, layer in zip(teachers, self.teacher_layers, strict=True)]
        with torch.autocast(own.device.type, enabled=False):
            own, *states = _units(own, states, student, teachers, given)
            projections = [getattr(self, f"projection_{number}") for number in range(len(states))]
            targets = mix_states(states, projections, self.weights)
            own = wide(own)
            if self.of_student is not None:
                own = functional.linear(own, self.of_student.to(own.dtype))
            difference = (own - targets).square().mean(dim=-1)
            return masked_mean(difference, units_mask(student, teachers, given))


class MixedClasses(Objective):
    """The student's classes, of texts or of words, against the average of several teachers'."""

    def __init__(
        self, teachers: int, *, weights: Sequence[float] | None = None, temperature: float = 1.0
    ) -> None:
        """Say what is mixed.

        Args:
            teachers: How many.
            weights: Of each; None: all alike.
            temperature: All logits are divided by it.

        Raises:
            InputError: A value is out of range; all faults are named.
        """
        super().__init__()
        self.weights = check_weights([1.0] * teachers if weights is None else weights)
        faults = []
        if not 0.0 < temperature < float("inf"):
            faults.append(f"temperature={temperature} has to be above 0")
        if len(self.weights) != teachers:
            faults.append(f"{len(self.weights)} weights are not those of {teachers} teachers")
        if faults:
            raise InputError(f"multi_teacher: {'; '.join(faults)}.")
        self.temperature = temperature
        self.student_needs = self.teacher_needs = Needs(logits=True)
        self.every_teacher_needs = (self.teacher_needs,) * teachers

    def forward(self, student: Outputs, teacher: Outputs, given: Given) -> Tensor:
        """The loss, a scalar; the second and later teachers are ``Given.others``."""
        teachers = check_teachers(teacher, given, len(self.weights))
        every = [student, *teachers]
        if any(each.logits is None for each in every):
            raise InputError(
                "multi_teacher: a model gives no logits. Take models with heads for the same classes."
            )
        own, *theirs = [wide(each.logits) for each in every if each.logits is not None]
        if len({each.shape[-1] for each in (own, *theirs)}) != 1:
            raise InputError(
                f"multi_teacher: the models have {[each.shape[-1] for each in (own, *theirs)]} classes. Only the same "
                "classes can be mixed, in the same order; distributions over different vocabularies cannot."
            )
        # Texts' classes (B, C) need no words, however texts are cut.
        of_tokens = own.ndim == 3 and own.shape[:2] == given.mask.shape
        with torch.autocast(own.device.type, enabled=False):
            if of_tokens and student.words is None:
                own, *theirs = _units(own, theirs, student, teachers, given)
            log_q = (own / self.temperature).log_softmax(dim=-1)
            probabilities = [(each / self.temperature).softmax(dim=-1) for each in theirs]
            if of_tokens and student.words is not None:
                q, *probabilities = _units(log_q.exp(), probabilities, student, teachers, given)
                log_q = q.clamp(min=torch.finfo(q.dtype).tiny).log()
            if of_tokens:
                counts = units_mask(student, teachers, given)
            else:
                counts = (
                    torch.ones_like(log_q[..., 0], dtype=torch.bool) if given.valid is None else given.valid
                )
            each = kl(mix_classes(probabilities, self.weights).log(), log_q)
            return masked_mean(each, counts) * self.temperature**2


def check_teachers(teacher: Outputs, given: Given, count: int) -> tuple[Outputs, ...]:
    """All teachers of a batch.

    Raises:
        InputError: There are fewer or more than were announced.
    """
    teachers = (teacher, *given.others)
    if len(teachers) != count:
        raise InputError(
            f"multi_teacher: {len(teachers)} teachers came with the batch, but {count} are mixed."
        )
    return teachers


def units_mask(student: Outputs, teachers: Sequence[Outputs], given: Given) -> Tensor:
    """Which words count, (B, W) bool, or which tokens, (B, n), where all models cut texts alike.

    A word counts where all models have tokens of it, and one of the student's is valid.
    """
    valid = given.mask
    if given.valid is not None and given.valid.shape == given.mask.shape:
        valid = valid & given.valid
    if student.words is None:
        return valid
    counts = ((student.words > 0) & valid[:, None]).any(dim=2)
    for each in teachers:
        if each.words is not None:
            counts = counts & (each.words > 0).any(dim=2)
    return counts


def _units(
    own: Tensor, theirs: Sequence[Tensor], student: Outputs, teachers: Sequence[Outputs], given: Given
) -> list[Tensor]:
    """What is said of tokens, averaged to words where models cut texts differently."""
    words = [each.words for each in (student, *teachers)]
    values = [own, *theirs]
    if all(each is None for each in words):
        if any(each.shape[:2] != own.shape[:2] for each in theirs):
            shapes = [tuple(each.shape[:2]) for each in values]
            raise InputError(
                f"multi_teacher: the models cut the texts differently, into {shapes} tokens (student first). Align "
                "them to words (polycompress.distill.alignment)."
            )
        return [value.masked_fill(~given.mask[..., None], 0.0) for value in values]
    if any(each is None for each in words):
        raise InputError(
            "multi_teacher: some models' tokens are aligned to words and others' are not: align all."
        )
    return [to_words(value, each) for value, each in zip(values, words, strict=True) if each is not None]
