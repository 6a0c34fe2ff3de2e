from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polycompress.errors import InputError
from polycompress.evaluation.speed import (
    Cell,
    SpeedSettings,
    Timing,
    compare,
    plan_cells,
    size_ratios,
    speedup,
    take_turns,
    turns_of,
)


class Machine:
    """A clock, and models whose work moves it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.load = itertools.repeat(1.0)
        self.ran: list[str] = []

    def model(self, name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            self.ran.append(name)
            self.now += seconds * next(self.load)

        return run


def test_models_take_turns_and_each_is_first_in_some() -> None:
    machine = Machine()
    models = [machine.model(name, seconds) for name, seconds in (("a", 3.0), ("b", 1.0), ("c", 2.0))]
    taken = take_turns(models, 4, warm_up=1, clock=lambda: machine.now)
    assert "".join(machine.ran) == "abc" + "abc" + "bca" + "cab" + "abc"
    assert taken == [(3.0,) * 4, (1.0,) * 4, (2.0,) * 4]


def test_a_slow_hour_does_not_change_the_ratio() -> None:
    machine = Machine()
    models = [machine.model("a", 2.0), machine.model("b", 1.0)]
    machine.load = iter([1.0] * 2 + [x for slow in (1.0, 1.0, 7.0, 7.0, 7.0) for x in (slow, slow)])
    a, b = take_turns(models, 5, warm_up=1, clock=lambda: machine.now)
    cell = Cell("fp32", 32, 1)
    assert speedup(Timing(cell, a), Timing(cell, b)) == pytest.approx(2.0)
    assert sorted(a) == pytest.approx([2.0, 2.0, 14.0, 14.0, 14.0])


def test_figures_of_a_timing() -> None:
    timing = Timing(Cell("fp32", 100, 8), tuple(float(n) / 1000 for n in range(1, 102)))
    assert timing.percentile(50) == pytest.approx(51.0)
    assert timing.percentile(95) == pytest.approx(96.0)
    assert timing.tokens_per_second == pytest.approx(800 / 0.051)
    assert timing.as_dict() == {
        "precision": "fp32", "length": 100, "batch": 8, "turns": 101, "p50_ms": pytest.approx(51.0),
        "p95_ms": pytest.approx(96.0), "tokens_per_second": pytest.approx(800 / 0.051),
    }  # fmt: skip


def test_batch_one_is_always_measured_and_more_often() -> None:
    settings = SpeedSettings(batches=(8, 4, 8), lengths=(64, 16), rounds=3)
    cells = plan_cells(settings, "fp32")
    assert [(cell.length, cell.batch) for cell in cells] == [
        (16, 1),
        (16, 4),
        (16, 8),
        (64, 1),
        (64, 4),
        (64, 8),
    ]
    assert [turns_of(cell, settings) for cell in cells] == [30, 3, 3, 30, 3, 3]


def test_comparison_with_the_first() -> None:
    cells = [Cell("fp32", 16, 1), Cell("fp32", 16, 4)]
    slow = [Timing(cell, (4.0, 4.0, 8.0)) for cell in cells]
    fast = [Timing(cell, (1.0, 2.0, 2.0)) for cell in cells]
    assert compare([slow, fast]) == [
        {"precision": "fp32", "length": 16, "batch": batch, "speedup": [1.0, 4.0]} for batch in (1, 4)
    ]


def test_ratios_of_sizes() -> None:
    assert size_ratios([{"a": 4}, {"a": 2}, {"a": None}], "a") == [1.0, 0.5, None]
    assert size_ratios([{"a": None}, {"a": 2}], "a") == [None, None]
    assert size_ratios([{"a": 0}, {"a": 2}], "a") == [None, None]


def test_every_wrong_setting_at_once() -> None:
    with pytest.raises(InputError) as raised:
        SpeedSettings(batches=(0, 3), lengths=(), rounds=0, precisions=("int8",))  # type: ignore[arg-type]
    message = str(raised.value)
    for part in (
        "batch is 0; whole numbers from 1 to 65,536 will do", "length is empty", "rounds is 0",
        "precision is 'int8'; known are fp32 and bf16",
    ):  # fmt: skip
        assert part in message
    with pytest.raises(InputError, match="precision is empty"):
        SpeedSettings(precisions=())


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=30), st.floats(0.01, 100))
def test_a_model_that_always_takes_so_many_times_as_long(seconds: list[float], factor: float) -> None:
    cell = Cell("bf16", 8, 2)
    slow = Timing(cell, tuple(factor * each for each in seconds))
    assert speedup(slow, Timing(cell, tuple(seconds))) == pytest.approx(factor)
    assert speedup(slow, slow) == 1.0
    assert slow.percentile(0) <= slow.percentile(50) <= slow.percentile(95) <= slow.percentile(100)
