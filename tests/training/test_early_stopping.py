from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from polycompress.errors import InputError
from polycompress.training.config import OptimiserConfig, ScheduleConfig, SnapshotConfig, TrainingConfig
from polycompress.training.early_stopping import Patience, compare
from polycompress.training.errors import StoppedError
from polycompress.training.loop import Parts, TrainState, resume, train
from polycompress.training.metrics import read_metrics
from polycompress.training.snapshots import best_snapshot, load_snapshot, newest_snapshot
from tests.pipelines.tiny_runs import Killed
from tests.training.tiny_task import make_parts, same_bits, weights

CONFIG = TrainingConfig(
    steps=20,
    log_every=5,
    evaluate_every=2,
    schedule=ScheduleConfig(warmup_steps=3),
    optimiser=OptimiserConfig(learning_rate=0.02, weight_decay=0.1),
    snapshots=SnapshotConfig(
        every_steps=100, keep_last=1, metric="dev_score", higher_is_better=True, on_improvement=True
    ),
)
SCORES = (0.2, 0.5, 0.5, 0.4, 0.45, 0.3, 0.9)
"""Better at steps 2 and 4, equal at 6; three without a better one are full at step 10."""


def made(
    out: Path, data: Path, *, after: int = 0, tell: Callable[[Mapping[str, Any]], None] | None = None
) -> Parts:
    """Parts whose score depends on the step alone, as a measurement would."""
    parts = make_parts(out, data, after=after, tell=tell, stop=Patience(3))
    box: list[TrainState] = []

    def evaluate() -> dict[str, float]:
        return {"dev_score": SCORES[box[0].step // 2 - 1]}

    parts = replace(parts, evaluate=evaluate)
    _STATES[id(parts)] = box
    return parts


_STATES: dict[int, list[TrainState]] = {}


def trained(parts: Parts, state: TrainState, config: TrainingConfig = CONFIG) -> TrainState:
    _STATES[id(parts)].append(state)
    try:
        return train(parts, config, state)
    finally:
        parts.metrics.close()


@pytest.mark.parametrize(
    ("score", "best", "higher", "verdict"),
    [
        (0.5, None, True, "better"),
        (0.5, 0.4, True, "better"),
        (0.5, 0.4, False, "worse"),
        (0.3, 0.4, False, "better"),
        (0.4, 0.4, True, "equal"),
        (0.4, 0.4, False, "equal"),
        (math.nan, None, True, "worse"),
        (math.nan, 0.4, False, "worse"),
    ],
)
def test_verdicts(score: float, best: float | None, higher: bool, verdict: str) -> None:
    assert compare(score, best, higher_is_better=higher) == verdict


def test_patience_is_not_negative() -> None:
    with pytest.raises(InputError, match=r"patience is -1: give 0 \(never\) or more evaluations"):
        Patience(-1)
    assert not Patience(0)(TrainState(looks_since_best=99))


def test_it_ends_when_nothing_gets_better(tmp_path: Path) -> None:
    parts = made(tmp_path / "run", tmp_path / "data")
    state = trained(parts, TrainState())
    assert state.step == 10
    assert (state.best_score, state.best_step, state.looks_since_best) == (0.5, 6, 3)
    names = sorted(path.name for path in (parts.out / "snapshots").iterdir())
    assert names == ["step-10", "step-6"]
    best = best_snapshot(parts.out / "snapshots")
    assert best is not None
    assert best.step == 6
    assert [r["step"] for r in read_metrics(parts.out / "metrics.jsonl")] == [2, 4, 5, 6, 8, 10]


def test_without_a_rule_it_goes_to_the_end(tmp_path: Path) -> None:
    parts = made(tmp_path / "run", tmp_path / "data")
    without = replace(parts, stop=None)
    _STATES[id(without)] = _STATES[id(parts)]
    assert trained(without, TrainState(), replace(CONFIG, steps=14)).step == 14


@pytest.mark.parametrize("moment", [3, 4, 7, 8, 9])
def test_killed_and_taken_up_it_ends_at_the_same_step_with_the_same_bits(tmp_path: Path, moment: int) -> None:
    whole = made(tmp_path / "whole", tmp_path / "data-whole")
    end = trained(whole, TrainState())

    def kill(record: Mapping[str, Any]) -> None:
        if record["step"] >= moment:
            raise Killed

    every = replace(CONFIG, log_every=1)
    with pytest.raises(Killed):
        trained(made(tmp_path / "run", tmp_path / "data-1", tell=kill), TrainState(), every)
    again, state = taken_up(tmp_path)
    state = trained(again, state)
    assert (state.step, state.best_step, state.looks_since_best) == (end.step, end.best_step, 3)
    assert same_bits(weights(again), weights(whole))


@pytest.mark.parametrize("moment", [3, 5, 7])
def test_a_signal_does_not_hide_an_evaluation(tmp_path: Path, moment: int) -> None:
    whole = made(tmp_path / "whole", tmp_path / "data-whole")
    end = trained(whole, TrainState())

    def send(record: Mapping[str, Any]) -> None:
        if record["step"] == moment:
            os.kill(os.getpid(), signal.SIGTERM)

    every = replace(CONFIG, log_every=1)
    with pytest.raises(StoppedError, match=f"after step {moment + 1}"):
        trained(made(tmp_path / "run", tmp_path / "data-1", tell=send), TrainState(), every)
    again, state = taken_up(tmp_path)
    assert state.held_out["dev_score"] == SCORES[(moment + 1) // 2 - 1]
    state = trained(again, state)
    assert (state.step, state.best_step) == (end.step, end.best_step)
    assert same_bits(weights(again), weights(whole))


def test_a_run_that_had_ended_does_not_go_on(tmp_path: Path) -> None:
    first = made(tmp_path / "run", tmp_path / "data-1")
    trained(first, TrainState())
    again, state = taken_up(tmp_path)
    assert trained(again, state).step == 10
    assert same_bits(weights(again), weights(first))


def taken_up(tmp_path: Path) -> tuple[Parts, TrainState]:
    snapshot = newest_snapshot(tmp_path / "run" / "snapshots")
    parts = made(tmp_path / "run", tmp_path / "data-2", after=snapshot.step if snapshot else 0)
    if snapshot is None:
        return parts, TrainState()
    torch.manual_seed(99)  # whatever the new process did with it
    return parts, resume(parts, load_snapshot(snapshot))
