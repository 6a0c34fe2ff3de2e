"""Objectives made out of options and models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from polycompress.distill.objectives.multi_teacher import MixedClasses, MixedHidden
from polycompress.errors import InputError
from polycompress.pipelines.distilling.loss_makers import mixed_classes, mixed_hidden, unequal
from polycompress.pipelines.distilling.loss_options import (
    MixedClassesOptions,
    MixedHiddenOptions,
    UnequalOptions,
)
from polycompress.pipelines.distilling.pair import Pair


def config(width: int, layers: int = 4) -> Any:
    return transformers.BertConfig(hidden_size=width, num_hidden_layers=layers, num_attention_heads=2)


def samples(layers: Sequence[int]) -> list[Tensor]:
    """Of two teachers: the second says what the first says, turned and twice as large."""
    draw = torch.Generator().manual_seed(sum(layers))
    first = torch.randn(200, 8, generator=draw)
    turn, _ = torch.linalg.qr(torch.randn(10, 10, generator=draw))
    return [first, 2 * torch.nn.functional.pad(first, (0, 2)) @ turn]


def pair(student: int = 8, *, sampled: bool = True) -> Pair:
    return Pair(
        student=config(student, 2),
        teacher=config(8),
        layers=(1, 3),
        steps=1,
        others=(config(10, 3),),
        samples=samples if sampled else None,
    )


def test_teachers_are_turned_into_the_first_one_s_own_space() -> None:
    made = mixed_hidden(pair(), MixedHiddenOptions(layers=(4, 3)))
    assert isinstance(made, MixedHidden)
    assert made.student_layer == 2 and made.teacher_layers == (4, 3)
    assert made.of_student is None, "the student is in that space by birth"
    torch.testing.assert_close(made.projection_0, torch.eye(8), atol=1e-5, rtol=1e-5)
    first, second = samples((4, 3))
    torch.testing.assert_close(second @ made.projection_1, first, atol=1e-4, rtol=1e-4)


def test_a_narrower_space_has_a_way_there() -> None:
    made = mixed_hidden(pair(), MixedHiddenOptions(width=5, student_layer=1))
    assert isinstance(made, MixedHidden)
    assert made.teacher_layers == (4, 3), "the last ones"
    assert made.of_student is not None and made.of_student.shape == (5, 8)
    assert made.projection_1.shape == (10, 5)
    of_wide = mixed_hidden(pair(12), MixedHiddenOptions())
    assert of_wide.of_student is not None and of_wide.of_student.shape == (8, 12)


def test_configurations_alone_show_what_is_needed() -> None:
    made = mixed_hidden(pair(sampled=False), MixedHiddenOptions(weights=(3.0, 1.0)))
    assert isinstance(made, MixedHidden)
    assert made.weights == (0.75, 0.25)
    assert [sorted(need.hidden) for need in made.every_teacher_needs] == [[4], [3]]
    classes = mixed_classes(pair(sampled=False), MixedClassesOptions(temperature=3.0))
    assert isinstance(classes, MixedClasses)
    assert classes.weights == (0.5, 0.5) and classes.temperature == 3.0


def test_what_does_not_fit() -> None:
    with pytest.raises(InputError, match=r"weights has 3 entries for 2 teachers.*; layers has 1 entries"):
        mixed_hidden(pair(), MixedHiddenOptions(weights=(1.0, 1.0, 1.0), layers=(2,)))
    with pytest.raises(InputError, match=r"mixed-classes: weights has 1 entries for 2 teachers"):
        mixed_classes(pair(), MixedClassesOptions(weights=(1.0,)))
    with pytest.raises(InputError, match=r"width is 9, but a teacher has 8 units"):
        mixed_hidden(pair(), MixedHiddenOptions(width=9))
    with pytest.raises(InputError, match=r"not known which pieces the models share"):
        unequal(pair(), UnequalOptions())
