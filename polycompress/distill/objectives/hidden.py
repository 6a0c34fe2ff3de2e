"""Hidden states: the student's are drawn to the teacher's, by squared error, absolute or relative, or by cosine.

Of a teacher that is shown tokens of its own, both models' states are averaged to words first; then words take the place
of tokens in all that follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from polycompress.distill.objective import Objective, masked_mean
from polycompress.distill.objectives.inputs import check_pairs, wide
from polycompress.distill.objectives.multi_teacher import to_words, units_mask
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.errors import InputError

Projection = Literal["trained"] | Mapping[int, Tensor] | None
_ORTHONORMAL = 1e-4
"""How far Q^T Q may be from the identity, in any element."""
_LEAST_VARIANCE = 1e-2
"""As a share of the states' mean square: what is taken where a batch has too few tokens to show how they vary."""


def hidden_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """The mean over real tokens and over units of (H^S - H^T)^2.

    Args:
        student: (B, n, d)
        teacher: (B, n, d) gets no gradient.
        mask: (B, n) bool, True for real tokens.

    Returns:
        Scalar, fp32 or wider.

    Reference:
        Jiao et al., "TinyBERT" (2020), equation 8, with padding left out.
    """
    # Padding goes before the square, so that not even its infinities reach the gradient.
    difference = (wide(student) - wide(teacher.detach())).masked_fill(~mask[..., None], 0.0)
    return masked_mean(difference.square().mean(dim=-1), mask)


def hidden_relative(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """``hidden_mse`` as a share of the variance of the teacher's states, so that 1 is as far as their mean.

    Layers differ in how far their states are spread, in some models tenfold; absolute errors are then about the widest
    ones, and the last layer, which tasks read, is often the narrowest. The share of each layer counts alike.

    Args:
        student: (B, n, d)
        teacher: (B, n, d) gets no gradient.
        mask: (B, n) bool, True for real tokens.

    Returns:
        Scalar, fp32 or wider.

    Reference:
        One less it is the share of variance explained, R^2, over all units together.
    """
    padding, count = ~mask[..., None], mask.sum().clamp(min=1)
    other = wide(teacher.detach()).masked_fill(padding, 0.0)
    square = other.square().sum() / count
    centred = (other - other.sum(dim=(0, 1)) / count).masked_fill(padding, 0.0)
    spread = torch.maximum(centred.square().sum() / count, _LEAST_VARIANCE * square)
    return hidden_mse(student, teacher, mask) / (spread / other.shape[-1]).clamp(
        min=torch.finfo(other.dtype).tiny
    )


def hidden_cosine(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """The mean over real tokens of 1 - cos(h^S, h^T), between 0 and 2; a vector of zeros counts as orthogonal to all.

    Args:
        student: (B, n, d)
        teacher: (B, n, d) gets no gradient.
        mask: (B, n) bool, True for real tokens.

    Returns:
        Scalar, fp32 or wider.

    Reference:
        Sanh et al., "DistilBERT" (2019), section 3.
    """
    padding = ~mask[..., None]
    own = wide(student).masked_fill(padding, 1.0)
    other = wide(teacher.detach()).masked_fill(padding, 1.0)
    return masked_mean(1.0 - functional.cosine_similarity(own, other, dim=-1), mask)


class _Hidden(Objective):
    """A distance between hidden states, the mean over pairs of them."""

    name: ClassVar[str]

    def __init__(
        self,
        pairs: Iterable[tuple[int, int]],
        projection: Projection = None,
        *,
        widths: tuple[int, int] | None = None,
        shared: bool = False,
        seed: int = 0,
    ) -> None:
        """Say what is matched.

        Args:
            pairs: Hidden states of the student and of the teacher, where 0 is the output of the embeddings.
            projection: How unequal widths meet. None: they are equal. ``trained``: matrices that are trained along
                take the student's states to the teacher's width (TinyBERT). Or, by number of the teacher's state,
                orthonormal Q (d_T, d_S) that take the teacher's states to the student's width and stay as they are
                (BiStil).
            widths: (d_S, d_T), for ``trained`` alone.
            shared: Whether all pairs have one trained matrix.
            seed: Of the trained matrices' first values.

        Raises:
            InputError: Values do not fit together; all faults are named.
        """
        super().__init__()
        self.pairs = check_pairs(self.name, pairs)
        self.student_needs = Needs(hidden=frozenset(own for own, _ in self.pairs))
        self.teacher_needs = Needs(hidden=frozenset(other for _, other in self.pairs))
        self.trained: nn.ParameterList | None = None
        self._is_fixed = isinstance(projection, Mapping)
        if isinstance(projection, Mapping):
            self._keep(projection)
        elif projection == "trained":
            if widths is None or min(widths) < 1:
                raise InputError(
                    f"{self.name}: trained projections need both widths, as widths=(student, teacher)."
                )
            generator = torch.Generator().manual_seed(seed)
            matrices = [_first_values(*widths, generator) for _ in range(1 if shared else len(self.pairs))]
            self.trained = nn.ParameterList(matrices)
        elif projection is not None:
            raise InputError(
                f'{self.name}: projection={projection!r} is unknown; use None, "trained", or matrices by number of the '
                "teacher's hidden state."
            )

    def forward(self, student: Outputs, teacher: Outputs, given: Given) -> Tensor:
        """The mean distance over all pairs."""
        losses = []
        by_words = teacher.mask is not None
        mask = units_mask(student, (teacher,), Given(mask=given.mask)) if by_words else given.mask
        for number, (own, other) in enumerate(self.pairs):
            state, target = student.hidden[own], teacher.hidden[other].detach()
            if by_words:
                state, target = (
                    self._words(state, student, "student"),
                    self._words(target, teacher, "teacher"),
                )
            if self.trained is not None:
                matrix = self.trained[min(number, len(self.trained) - 1)]
                self._check("student", own, state, matrix.shape[1])
                # The matrix's gradient is a product with the states, padding and all.
                real = state.masked_fill(~mask[..., None], 0.0)
                state = functional.linear(real.to(matrix.dtype), matrix)
            elif self._is_fixed:
                basis = getattr(self, f"basis_{other}")
                self._check("teacher", other, target, basis.shape[0])
                target = wide(target) @ basis.to(wide(target).dtype)
            if state.shape[-1] != target.shape[-1]:
                raise InputError(
                    f"{self.name}: the student's hidden state {own} is {state.shape[-1]} wide and the teacher's "
                    f"{other} {target.shape[-1]}; give projections that make them equal."
                )
            losses.append(self.distance(state, target, mask))
        return torch.stack(losses).mean()

    def distance(self, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        """Of states (B, n, d) of equal width: a scalar."""
        raise NotImplementedError

    def _keep(self, matrices: Mapping[int, Tensor]) -> None:
        faults = []
        for other in sorted(self.teacher_needs.hidden):
            matrix = matrices.get(other)
            if matrix is None:
                faults.append(f"the teacher's hidden state {other} has no projection")
            elif matrix.ndim != 2 or matrix.shape[0] < matrix.shape[1]:
                faults.append(
                    f"the projection of the teacher's hidden state {other} has the shape {tuple(matrix.shape)}; it has "
                    "to be (teacher's width, student's width), the first at least as large"
                )
            elif not _is_orthonormal(matrix):
                faults.append(
                    f"the columns of the projection of the teacher's hidden state {other} are not orthonormal"
                )
            else:
                self.register_buffer(f"basis_{other}", wide(matrix.detach().clone()))
        if faults:
            raise InputError(f"{self.name}: {'; '.join(faults)}.")

    def _words(self, state: Tensor, said: Outputs, who: str) -> Tensor:
        """(B, W, d) averages over the tokens of each word."""
        if said.words is None:
            raise InputError(
                f"{self.name}: the models cut the texts differently, and the {who}'s tokens are not aligned to words "
                "(polycompress.distill.alignment): align both."
            )
        with torch.autocast(state.device.type, enabled=False):
            return to_words(state, said.words)

    def _check(self, who: str, number: int, state: Tensor, width: int) -> None:
        if state.shape[-1] != width:
            raise InputError(
                f"{self.name}: the {who}'s hidden state {number} is {state.shape[-1]} wide, but its projection was "
                f"made for {width}; make it for this {who}."
            )


class HiddenMSE(_Hidden):
    """Mean squared error of hidden states; with fixed Q the loss L_h of BiStil.

        L_h = mean over pairs of MSE(H^S, H^T), MSE(H^S W, H^T) (trained W) or MSE(H^S, H^T Q) (fixed Q)

    Reference:
        Jiao et al., "TinyBERT" (2020), equations 8 and 9; Ansell et al., "Distilling Efficient Language-Specific
        Models for Cross-Lingual Transfer" (2023).
    """

    name = "hidden-mse"

    def distance(self, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        """See ``hidden_mse``."""
        return hidden_mse(student, teacher, mask)


class HiddenRelative(_Hidden):
    """Squared error of hidden states, each layer's as a share of the variance of the teacher's; see the function."""

    name = "hidden-relative"

    def distance(self, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        """See ``hidden_relative``."""
        return hidden_relative(student, teacher, mask)


class HiddenCosine(_Hidden):
    """One less the cosine of hidden states.

    Reference:
        Sanh et al., "DistilBERT" (2019), section 3.
    """

    name = "hidden-cosine"

    def distance(self, student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
        """See ``hidden_cosine``."""
        return hidden_cosine(student, teacher, mask)


def _first_values(student: int, teacher: int, generator: torch.Generator) -> nn.Parameter:
    """(d_T, d_S), drawn as torch draws those of a linear layer."""
    bound = student**-0.5
    return nn.Parameter(torch.empty(teacher, student).uniform_(-bound, bound, generator=generator))


def _is_orthonormal(matrix: Tensor) -> bool:
    exact = matrix.detach().double()
    unit = torch.eye(exact.shape[1], dtype=exact.dtype, device=exact.device)
    return bool(((exact.T @ exact - unit).abs() <= _ORTHONORMAL).all())
