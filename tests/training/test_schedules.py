from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.training.config import ScheduleConfig
from polycompress.training.schedules import DECAYS, rate_share

KINDS = sorted(DECAYS)


def schedule(kind: str, warmup: int = 0, decay: int = 0, final: float = 0.0) -> ScheduleConfig:
    decay = (decay or 1) if kind == "warmup-stable-decay" else 0
    return ScheduleConfig(kind=kind, warmup_steps=warmup, decay_steps=decay, final_share=final)  # type: ignore[arg-type]


def test_linear_by_hand() -> None:
    shares = [rate_share(schedule("linear", warmup=3), step, 8) for step in range(8)]
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1.0, 0.8, 0.6, 0.4, 0.2])


def test_cosine_by_hand() -> None:
    shares = [rate_share(schedule("cosine", final=0.1), step, 4) for step in range(4)]
    assert shares == pytest.approx([0.1 + 0.9 * (1 + math.cos(math.pi * x / 4)) / 2 for x in range(4)])
    assert shares[2] == pytest.approx(0.55)


def test_constant_by_hand() -> None:
    assert [rate_share(schedule("constant", warmup=1), step, 4) for step in range(4)] == [0.5, 1, 1, 1]


def test_warmup_stable_decay_by_hand() -> None:
    config = schedule("warmup-stable-decay", warmup=1, decay=4)
    shares = [rate_share(config, step, 8) for step in range(8)]
    assert shares == pytest.approx([0.5, 1, 1, 1, 1, 0.75, 0.5, 0.25])


@given(
    st.sampled_from(KINDS),
    st.integers(1, 300),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_shares_are_shares_and_never_rise_after_the_warm_up(
    kind: str, steps: int, warm: float, decay: float, final: float
) -> None:
    warmup = int(warm * steps)
    config = schedule(kind, warmup, int(decay * (steps - warmup)), final)
    shares = [rate_share(config, step, steps) for step in range(steps)]
    assert all(0 < share <= 1 for share in shares[: warmup + 1])
    assert all(-1e-12 <= final - 1e-12 <= share <= 1 for share in shares[warmup:])
    assert all(one < other for one, other in itertools.pairwise(shares[: warmup + 1]))
    assert all(one >= other - 1e-12 for one, other in itertools.pairwise(shares[warmup:]))
    if warmup < steps:
        assert shares[warmup] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_no_step_is_wasted(kind: str) -> None:
    assert rate_share(schedule(kind, warmup=2, decay=3), 9, 10) > 0
