r"""MI-alpha: a lower bound of the mutual information between the features of student and teacher.

For K samples with features x_i of the student and y_j of the teacher, a critic f, and

    m(y_j) = 1/K sum_i exp f(x_i, y_j)        log c(y_j) a baseline        a(y) = alpha m(y) + (1 - alpha) c(y)

    I_alpha = 1 + E[f(x, y) - log a(y)] - E[exp f(x, y) / a(y)]

where the first expectation is over x and y of the same sample and the second over independent ones. With alpha = 1 it
is log K plus the mean log-softmax of the right pairs (InfoNCE), never above log K and of low variance; with alpha = 0
the bound of Barber and Agakov in its unnormalised form (TUBA; with c = 1 that of Nguyen, Wainwright and Jordan for the
critic f + 1), unbiased and of high variance.

For each y_j the other K - 1 x_i are independent of it, so over them the second expectation is m' / (alpha m' +
(1 - alpha) c), m' being m without x_j: that is 1 at alpha = 1 exactly, and unbiased at alpha = 0. Everything is a sum
of exponentials, so it is computed from their logarithms.

Reference:
    Poole et al., "On variational bounds of mutual information" (2019), the bound interpolated between two others.
    https://arxiv.org/abs/1905.06922
    He et al., "Distiller: a systematic study of model distillation methods in NLP" (2021), section 3.
    https://arxiv.org/abs/2109.11105
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from polycompress.distill.objective import Objective
from polycompress.distill.objectives.inputs import wide
from polycompress.distill.objectives.sentence import mean_pool
from polycompress.distill.outputs import Given, Needs, Outputs
from polycompress.errors import InputError

Features = Literal["texts", "tokens"]


def scaled_products(student: Tensor, teacher: Tensor) -> Tensor:
    """The critic: f(x_i, y_j) = x_i . y_j / sqrt(d).

    Args:
        student: (K, d)
        teacher: (K, d)

    Returns:
        (K, K)
    """
    return student @ teacher.transpose(0, 1) / math.sqrt(student.shape[1])


def mutual_information(scores: Tensor, log_baseline: Tensor, alpha: float) -> Tensor:
    """I_alpha in nats; see the head of this module.

    Args:
        scores: (K, K) f(x_i, y_j), right pairs on the diagonal.
        log_baseline: (K,) log c(y_j); not read at alpha = 1.
        alpha: 0 to 1.

    Returns:
        A scalar, fp32 or wider; 0, with gradients, where fewer than two samples leave nothing to compare.
    """
    count = len(scores)
    scores = wide(scores)
    if count < 2:
        return scores.sum() * 0.0
    own = scores.diagonal()
    itself = torch.eye(count, dtype=torch.bool, device=scores.device)
    log_mean = scores.logsumexp(dim=0) - math.log(count)
    log_others = scores.masked_fill(itself, -torch.inf).logsumexp(dim=0) - math.log(count - 1)
    joint = own - _interpolated(log_mean, log_baseline, alpha)
    independent = log_others - _interpolated(log_others, log_baseline, alpha)
    return joint.mean() + (1.0 - independent.exp().mean())


def _interpolated(log_mean: Tensor, log_baseline: Tensor, alpha: float) -> Tensor:
    """Log a(y)."""
    if alpha == 1.0:
        return log_mean
    if alpha == 0.0:
        return log_baseline
    return torch.logaddexp(log_mean + math.log(alpha), log_baseline + math.log1p(-alpha))


class MutualInformation(Objective):
    """Minus the mean of I_alpha over pairs of hidden states, between small projections that are trained along.

    It is not 0 where student and teacher agree, and may be negative: at alpha = 1 it is at least -log K.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[int, int]],
        student_width: int,
        teacher_width: int,
        *,
        width: int = 128,
        alpha: float = 0.5,
        features: Features = "texts",
        learn_baseline: bool = True,
        max_samples: int = 1024,
        seed: int = 0,
    ) -> None:
        """Say what is compared.

        Args:
            pairs: Numbers of hidden states, the student's and the teacher's.
            student_width: Units of the student's.
            teacher_width: Units of the teacher's.
            width: Units of what both are projected to.
            alpha: Above 0, at most 1.
            features: ``texts``: the mean over a text's tokens is one sample; ``tokens``: each token is one.
            learn_baseline: Whether log c(y) is a linear function of y that is trained along; else it is 0.
            max_samples: Of more tokens so many are compared, spread evenly over the batch, since memory grows with the
                square.
            seed: Of the projections.

        Raises:
            InputError: A value is out of range; all faults are named.
        """
        super().__init__()
        faults = []
        if not pairs:
            faults.append("there is no pair of layers")
        if not 0.0 < alpha <= 1.0:
            faults.append(f"alpha={alpha} has to be above 0 and at most 1")
        if features not in get_args(Features):
            faults.append(f"features={features!r} are unknown; use one of {', '.join(get_args(Features))}")
        if min(student_width, teacher_width, width) < 1:
            faults.append(f"widths {student_width}, {teacher_width} and {width} have to be above 0")
        if max_samples < 2:
            faults.append(f"max_samples={max_samples} has to be at least 2")
        if faults:
            raise InputError(f"mutual_information: {'; '.join(faults)}.")
        self.pairs, self.alpha, self.features, self.max_samples = tuple(pairs), alpha, features, max_samples
        self.student_needs = Needs(hidden=frozenset(own for own, _ in pairs))
        self.teacher_needs = Needs(hidden=frozenset(layer for _, layer in pairs))
        random = torch.Generator().manual_seed(seed)
        self.of_student = nn.ParameterList([_matrix(width, student_width, random) for _ in pairs])
        self.of_teacher = nn.ParameterList([_matrix(width, teacher_width, random) for _ in pairs])
        # c starts at 1: weights 0.
        is_learnt = learn_baseline and alpha < 1.0  # at 1 it is not read
        self.baseline = nn.Parameter(torch.zeros(len(pairs), width + 1), requires_grad=is_learnt)

    def forward(self, student: Outputs, teacher: Outputs, given: Given) -> Tensor:
        """The loss, a scalar."""
        found = []
        with torch.autocast(given.mask.device.type, enabled=False):
            for number, (own, layer) in enumerate(self.pairs):
                x = self._samples(student.hidden[own], given.mask)
                y = self._samples(teacher.hidden[layer].detach(), given.mask)
                x = functional.linear(x, self.of_student[number].to(x.dtype))
                y = functional.linear(y, self.of_teacher[number].to(y.dtype))
                weights = self.baseline[number].to(y.dtype)
                log_baseline = y @ weights[:-1] + weights[-1]
                found.append(mutual_information(scaled_products(x, y), log_baseline, self.alpha))
        return -torch.stack(found).mean()

    def _samples(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """(K, d) features, fp32 or wider, of the texts, or tokens, that there are."""
        if self.features == "texts":
            return mean_pool(hidden, mask)[mask.any(dim=1)]
        tokens = wide(hidden[mask])
        count = len(tokens)
        if count <= self.max_samples:
            return tokens
        places = torch.arange(self.max_samples, device=tokens.device) * count // self.max_samples
        return tokens[places]


def _matrix(rows: int, columns: int, random: torch.Generator) -> nn.Parameter:
    matrix = nn.Parameter(torch.empty(rows, columns))
    nn.init.orthogonal_(matrix, generator=random)
    return matrix
