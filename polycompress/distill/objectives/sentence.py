"""Sentence embeddings: a student's vector of a text is pulled to the teacher's vector of what the text says.

With M the teacher's vector, S the student's, s a sentence and t its translation (Reimers and Gurevych 2020, section 2):

    loss = |M(s) - S(s)|^2 + |M(s) - S(t)|^2

so that the translation lands where the teacher puts the source, whatever the teacher knows of its language.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from polycompress.distill.objective import Objective, masked_mean
from polycompress.distill.objectives.inputs import wide
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.errors import InputError

Distance = Literal["mse", "cosine"]


def mean_pool(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean of the real tokens' states.

    Args:
        hidden: (B, n, d) states; those of padding may be anything.
        mask: (B, n) bool.

    Returns:
        (B, d) fp32 or wider; zeros for a text without tokens.
    """
    hidden = wide(hidden)
    total = hidden.masked_fill(~mask[..., None], 0.0).sum(dim=1)
    return total / mask.sum(dim=1, keepdim=True).clamp(min=1)


def sentence_loss(student: Tensor, teacher: Tensor, counts: Tensor, distance: Distance = "mse") -> Tensor:
    """The mean over texts of the distance of two vectors.

    Args:
        student: (B, d)
        teacher: (B, d) no gradient goes there.
        counts: (B,) bool, which texts count.
        distance: ``mse``, the mean over the d squared differences, or ``cosine``, one minus the cosine: d/2 times the
            former of vectors of unit length, whose gradients would be too small for Adam's usual epsilon.

    Returns:
        A scalar in fp32 or wider, at least 0; 0 where the vectors are the same. Over pairs it is half of the paper's
        loss, which adds the two means of sources and translations.

    Reference:
        Reimers and Gurevych, "Making monolingual sentence embeddings multilingual using knowledge distillation"
        (2020), section 2. https://arxiv.org/abs/2004.09813
    """
    student, teacher = wide(student), wide(teacher.detach())
    if distance == "cosine":
        return masked_mean(1.0 - functional.cosine_similarity(student, teacher, dim=-1), counts)
    return masked_mean((student - teacher).square().mean(dim=-1), counts)


class SentenceVectors(Objective):
    """``sentence_loss`` between means of hidden states, or with teacher's vectors that come ready.

    The batch of the student holds sources and translations in any order; ``Given.source`` says which text of the
    teacher's each belongs to. Without it each belongs to its own.
    """

    def __init__(
        self,
        student_layer: int,
        teacher_layer: int | None,
        *,
        distance: Distance = "mse",
        widths: tuple[int, int] | None = None,
        seed: int = 0,
    ) -> None:
        """Say what is compared.

        Args:
            student_layer: Number of the student's hidden state that is averaged.
            teacher_layer: Number of the teacher's, which sees the same text; None: ``Outputs.vectors`` are taken.
            distance: See ``sentence_loss``.
            widths: Units of the student's and the teacher's vectors where they differ: the student's are then projected
                by a matrix that is trained along. None: they are equal.
            seed: Of that matrix.

        Raises:
            InputError: The distance is unknown, or a width is not above 0.
        """
        super().__init__()
        faults = []
        if distance not in get_args(Distance):
            faults.append(f"distance={distance!r} is unknown; use one of {', '.join(get_args(Distance))}")
        if widths is not None and min(widths) < 1:
            faults.append(f"widths={widths} have to be above 0")
        if faults:
            raise InputError(f"sentence: {'; '.join(faults)}.")
        self.student_layer, self.teacher_layer = student_layer, teacher_layer
        self.distance = distance
        self.student_needs = Needs(hidden=frozenset({student_layer}))
        self.teacher_needs = Needs(
            hidden=frozenset() if teacher_layer is None else frozenset({teacher_layer})
        )
        self.projection: nn.Parameter | None = None
        if widths is not None:
            random = torch.Generator().manual_seed(seed)
            self.projection = nn.Parameter(torch.empty(widths[1], widths[0]))
            nn.init.orthogonal_(self.projection, generator=random)

    def forward(self, student: Outputs, teacher: Outputs, given: Given) -> Tensor:
        """The loss, a scalar."""
        own = student.hidden[self.student_layer]
        with torch.autocast(own.device.type, enabled=False):
            vectors = mean_pool(own, given.mask)
            if self.projection is not None:
                vectors = functional.linear(vectors, self.projection.to(vectors.dtype))
            targets = self._targets(teacher, given)
            if given.source is not None:
                targets = targets[given.source]
            if targets.shape != vectors.shape:
                raise InputError(
                    f"sentence: the student's vectors have the shape {tuple(vectors.shape)}, the teacher's "
                    f"{tuple(targets.shape)}. Give widths where the units differ, and Given.source where the texts do."
                )
            return sentence_loss(vectors, targets, given.mask.any(dim=1), self.distance)

    def _targets(self, teacher: Outputs, given: Given) -> Tensor:
        """(B', d) vectors of the teacher's texts."""
        if self.teacher_layer is not None:
            hidden = teacher.hidden[self.teacher_layer].detach()
            mask = given.mask if teacher.mask is None else teacher.mask
            if hidden.shape[:2] != mask.shape:
                raise InputError(
                    f"sentence: the teacher has {tuple(hidden.shape[:2])} tokens, the student {tuple(given.mask.shape)}"
                    ". Where they cut texts differently, say which of the teacher's are real (Outputs.mask), or give "
                    "its vectors ready (teacher_layer None)."
                )
            return mean_pool(hidden, mask)
        if teacher.vectors is None:
            raise InputError(
                "sentence: no vectors of the teacher's came with the batch. Compute them first, or name a "
                "teacher_layer."
            )
        return teacher.vectors
