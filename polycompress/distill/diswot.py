"""DisWOT's two scores: how alike a teacher and an untrained student look at one batch.

Made for convolutional networks on images, and tested on those alone; here with the choices that transformers ask for:
features are hidden states, and the classifier is the tied output table, restricted to a sample of tokens. Both scores
compare Gram matrices, so widths may differ, and a rotation of either side's features changes nothing.

Reference: Dong et al., "DisWOT: Student Architecture Search for Distillation WithOut Training" (CVPR 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot, softmax


@dataclass(frozen=True, slots=True)
class Score:
    """How alike teacher and student are: 0 at most, higher is more alike."""

    semantic: float
    relation: float

    @property
    def total(self) -> float:
        """What students are ranked by."""
        return self.semantic + self.relation


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Views:
    """What a model makes of a batch."""

    tokens: Tensor
    """(M, d) hidden states from which a token is told."""
    table: Tensor
    """(C, d) rows of the output table: the classes."""
    labels: Tensor
    """(M,) int64, the class of each."""
    texts: Tensor
    """(B, d) hidden states averaged over the tokens of each text."""


def classifier_gradient(features: Tensor, table: Tensor, labels: Tensor) -> Tensor:
    """Gradient of the mean cross-entropy of softmax(F W^T) with respect to W.

    Args:
        features: F, (M, d).
        table: W, (C, d).
        labels: (M,) int64 below C.

    Returns:
        (C, d), in fp32 or wider: (softmax(F W^T) - Y)^T F / M.
    """
    features, table = (each if each.dtype == torch.float64 else each.float() for each in (features, table))
    wrong = softmax(features @ table.T, dim=1) - one_hot(labels, len(table))
    return wrong.T @ features / len(features)


def gram_score(teacher: Tensor, student: Tensor) -> Tensor:
    """- ||normalise(T T^T) - normalise(S S^T)||_F^2 / n^2, each row of the Gram matrices being of length 1.

    Args:
        teacher: (n, d).
        student: (n, d'), of any width.

    Returns:
        A scalar, 0 at most; 0 where the two are equal up to a rotation and a scale.
    """
    difference = normalize(teacher @ teacher.T, dim=1) - normalize(student @ student.T, dim=1)
    return -difference.square().mean()


def semantic_score(teacher: Views, student: Views) -> Tensor:
    """Whether classes are told apart by like features: the Gram matrices, (C, C), of the classifiers' gradients.

    Args:
        teacher: What it makes of a batch.
        student: What it makes of the same batch, with the same classes in the same order.

    Returns:
        A scalar, 0 at most.
    """
    gradients = [classifier_gradient(each.tokens, each.table, each.labels) for each in (teacher, student)]
    return gram_score(gradients[0], gradients[1])


def relation_score(teacher: Views, student: Views) -> Tensor:
    """Whether like texts are alike: the Gram matrices, (B, B), of the texts' features.

    Args:
        teacher: What it makes of a batch.
        student: What it makes of the same batch.

    Returns:
        A scalar, 0 at most.
    """
    return gram_score(teacher.texts, student.texts)


def diswot_score(teacher: Views, student: Views) -> Score:
    """Both scores of one student on one batch."""
    return Score(float(semantic_score(teacher, student)), float(relation_score(teacher, student)))


def mean_score(scores: Sequence[Score]) -> tuple[Score, float]:
    """The mean over seeds and batches, and the standard error of its total.

    Args:
        scores: At least one. The standard error of one alone is infinite: nothing says how far it can be trusted.
    """
    both = torch.tensor([(each.semantic, each.relation) for each in scores], dtype=torch.float64)
    semantic, relation = both.mean(dim=0).tolist()
    totals = both.sum(dim=1)
    error = float(totals.std() / len(scores) ** 0.5) if len(scores) > 1 else float("inf")
    return Score(semantic, relation), error
