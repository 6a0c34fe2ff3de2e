"""Shapes of students: which there are, what they take, which a budget holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.distill.shapes import (
    Shape,
    Width,
    WidthCost,
    enumerate_shapes,
    layer_options,
    measure_width,
    width_options,
    within_budget,
)
from polycompress.errors import InputError

TEACHER = Width(384, 12, 1536)


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.integers(1, 4096))
def test_three_models_tell_what_any_other_takes(fixed: int, per_layer: int, per_token: int) -> None:
    cost = measure_width(lambda layers, tokens: fixed + layers * per_layer + tokens * per_token)
    assert cost == WidthCost(fixed, per_layer, per_token)
    assert cost.parameters(7, 1000) == fixed + 7 * per_layer + 1000 * per_token


def test_usual_widths_are_those_that_the_heads_divide() -> None:
    assert width_options(TEACHER) == (TEACHER, Width(192, 12, 768))
    assert width_options(Width(768, 12, 3072)) == (
        Width(768, 12, 3072),
        Width(384, 12, 1536),
    )


def test_named_widths_are_combined_as_far_as_they_fit() -> None:
    found = width_options(TEACHER, hidden=(96, 100), heads=(4, 12), feed_forward=(200,))
    assert found == (Width(100, 4, 200), Width(96, 12, 200), Width(96, 4, 200))


def test_widths_that_fit_nowhere_are_refused() -> None:
    with pytest.raises(InputError, match=r"No hidden size \(100\) is a multiple of a number of heads \(12\)"):
        width_options(TEACHER, hidden=(100,))
    with pytest.raises(InputError, match="A hidden size of 10 with 3 heads"):
        Width(10, 3, 1)


@given(st.integers(1, 96))
def test_usual_layers_can_be_taken_evenly(layers: int) -> None:
    found = layer_options(layers)
    assert found[0] == 1
    assert found[-1] == layers
    assert all(layers % number == 0 for number in found)


SHAPES = enumerate_shapes((2, 4, 2), (TEACHER, Width(192, 12, 768)), (100, 200))


def test_every_combination_is_there_once() -> None:
    assert len(SHAPES) == len(set(SHAPES)) == 8
    assert SHAPES[0] == Shape(4, TEACHER, 200)
    assert SHAPES[-1] == Shape(2, Width(192, 12, 768), 100)


def cost(shape: Shape) -> float:
    return shape.layers * shape.width.hidden + shape.tokens


@given(st.floats(0, 3000), st.floats(0, 1))
def test_what_is_left_keeps_to_the_budget_and_uses_it(budget: float, share: float) -> None:
    found = within_budget(SHAPES, cost, budget, share)
    fitting = [shape for shape in SHAPES if cost(shape) <= budget]
    assert set(found) <= set(fitting)
    assert bool(found) == bool(fitting)
    large = [shape for shape in fitting if cost(shape) >= share * budget]
    assert list(found) == (large or fitting)
