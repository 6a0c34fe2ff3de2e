"""DisWOT's scores: the highest for equal weights, the same however features are turned."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from polycompress.distill.diswot import (
    Score,
    Views,
    classifier_gradient,
    diswot_score,
    gram_score,
    mean_score,
    relation_score,
    semantic_score,
)


def views(seed: int, width: int = 5, tokens: int = 20, classes: int = 6, texts: int = 4) -> Views:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    labels = torch.randint(classes, (tokens,), generator=torch.Generator().manual_seed(99))
    return Views(
        tokens=draw(tokens, width), table=draw(classes, width), labels=labels, texts=draw(texts, width)
    )


def turned(each: Views, seed: int) -> Views:
    width = each.table.shape[1]
    rotation, _ = torch.linalg.qr(
        torch.randn(width, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    )
    return Views(
        tokens=each.tokens @ rotation,
        table=each.table @ rotation,
        labels=each.labels,
        texts=each.texts @ rotation,
    )


def test_the_gradient_is_that_of_autograd() -> None:
    given_views = views(0)
    table = given_views.table.clone().requires_grad_()
    cross_entropy(given_views.tokens @ table.T, given_views.labels).backward()
    assert table.grad is not None
    found = classifier_gradient(given_views.tokens, given_views.table, given_views.labels)
    torch.testing.assert_close(found, table.grad, atol=1e-12, rtol=0)


def test_gram_score_by_hand() -> None:
    teacher = torch.tensor([[1.0], [0.0]])  # Gram [[1, 0], [0, 0]]: the second row stays 0
    student = torch.tensor([[3.0], [4.0]])  # Gram [[9, 12], [12, 16]]: rows [0.6, 0.8] twice
    wanted = -((0.4**2) + 0.8**2 + 0.6**2 + 0.8**2) / 4
    assert float(gram_score(teacher, student)) == pytest.approx(wanted)


@given(st.integers(0, 1000))
def test_equal_weights_have_the_highest_score(seed: int) -> None:
    found = diswot_score(views(seed), views(seed))
    assert (found.semantic, found.relation) == (0, 0)
    other = diswot_score(views(seed), views(seed + 1, width=3))
    assert other.semantic < -1e-6
    assert other.relation < -1e-6


@given(st.integers(0, 1000))
def test_a_rotation_of_features_changes_nothing(seed: int) -> None:
    teacher, student = views(seed), views(seed + 1, width=7)
    for score in (semantic_score, relation_score):
        expected = score(teacher, student)
        torch.testing.assert_close(score(teacher, turned(student, seed)), expected, atol=1e-10, rtol=0)
        torch.testing.assert_close(score(turned(teacher, seed), student), expected, atol=1e-10, rtol=0)
        assert float(score(teacher, turned(teacher, seed))) == pytest.approx(0, abs=1e-10)


def test_a_nearer_student_scores_higher() -> None:
    teacher, noise = views(0), views(1)
    totals = []
    for share in (0.01, 0.1, 1.0):
        student = Views(
            tokens=teacher.tokens + share * noise.tokens,
            table=teacher.table + share * noise.table,
            labels=teacher.labels,
            texts=teacher.texts + share * noise.texts,
        )
        totals.append(diswot_score(teacher, student).total)
    assert totals == sorted(totals, reverse=True)


def test_scores_are_averaged_with_their_standard_error() -> None:
    mean, error = mean_score([Score(-1, -2), Score(-3, -4)])
    assert mean == Score(-2, -3)
    assert mean.total == -5
    assert error == pytest.approx(math.sqrt(8) / math.sqrt(2))
    assert mean_score([Score(-1, -1)])[1] == math.inf
