from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from polycompress.distill.objectives.multi_teacher import mix_states
from polycompress.distill.objectives.teacher_space import align_teachers
from polycompress.errors import InputError
from tests.distill.objectives.batches import draw


def turned(width: int, seed: int) -> Tensor:
    return torch.linalg.qr(draw(width, width, seed=seed))[0]


@given(st.integers(2, 6), st.integers(0, 10**6), st.floats(0.1, 10.0))
def test_a_turned_and_scaled_copy_is_turned_and_scaled_back(width: int, seed: int, size: float) -> None:
    states = draw(20, width, seed=seed)
    copy = size * states @ turned(width, seed + 1)
    first, second = align_teachers([states, copy], width)
    torch.testing.assert_close(copy @ second, states @ first, rtol=1e-8, atol=1e-8)
    # So that their average is that of one teacher, whatever the weights.
    mixed = mix_states([states, copy], [first, second], [0.3, 0.7])
    torch.testing.assert_close(mixed, states @ first, rtol=1e-8, atol=1e-8)


@given(st.integers(1, 4), st.integers(0, 10**6))
def test_columns_are_orthogonal_and_the_first_keeps_the_strongest_directions(width: int, seed: int) -> None:
    samples = [draw(15, 5, seed=seed), draw(15, 7, seed=seed + 1)]
    first, second = align_teachers(samples, width)
    torch.testing.assert_close(first.T @ first, torch.eye(width, dtype=torch.float64))
    gram = second.T @ second
    torch.testing.assert_close(gram, gram[0, 0] * torch.eye(width, dtype=torch.float64))
    kept = torch.linalg.svdvals(samples[0])[:width].square().sum()
    torch.testing.assert_close((samples[0] @ first).square().sum(), kept)


@given(st.integers(0, 10**6))
def test_no_other_turn_brings_an_equally_wide_teacher_nearer(seed: int) -> None:
    samples = [draw(30, 4, seed=seed), draw(30, 4, seed=seed + 1)]
    first, second = align_teachers(samples, 4)
    target = samples[0] @ first
    found = (samples[1] @ second - target).square().sum()
    for other in range(3):
        turn = turned(4, seed + 2 + other)
        states = samples[1] @ turn
        best = (states * target).sum() / states.square().sum()
        assert (best * states - target).square().sum() >= found - 1e-9


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(InputError, match=r"samples of \[5, 6\] states are not of the same tokens"):
        align_teachers([draw(5, 3), draw(6, 3)], 2)
    with pytest.raises(InputError, match="2 samples are too few for 3 directions"):
        align_teachers([draw(2, 3)], 3)
    with pytest.raises(
        InputError, match="a space of 4 units is not between 1 and the width of the narrowest"
    ):
        align_teachers([draw(9, 4), draw(9, 3)], 4)
