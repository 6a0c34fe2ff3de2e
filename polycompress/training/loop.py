"""The loop: steps, lines of the log, evaluations and snapshots, until the last step or a signal."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import torch

from polycompress.errors import StorageError
from polycompress.training.batches import Batch
from polycompress.training.claims import release
from polycompress.training.config import SnapshotConfig, TrainingConfig
from polycompress.training.devices import Devices
from polycompress.training.early_stopping import Verdict, compare
from polycompress.training.errors import StoppedError
from polycompress.training.failures import no_longer_finite, written_out
from polycompress.training.memory import memory_mib, peak_memory_mib
from polycompress.training.metrics import MetricSink
from polycompress.training.optimisers import SplitAdamW
from polycompress.training.run_files import SNAPSHOTS
from polycompress.training.schedules import rate_share
from polycompress.training.signals import StopSignals
from polycompress.training.snapshots import newest_snapshot, prune_snapshots, save_snapshot
from polycompress.training.state import capture, not_finite, restore
from polycompress.training.step import BadBatches, StepResult, Task, train_step

logger = logging.getLogger(__name__)

_SIGNAL_NAMES: Final = {2: "SIGINT", 15: "SIGTERM"}


class Data(Protocol):
    """Batches without an end, that can be taken up where they were left; ``BatchLoader`` is one."""

    @property
    def tokens(self) -> dict[str, int]:
        """Given so far to all processes together, by language."""

    def next(self) -> Batch | None:
        """This process's next batch, or None at the end."""

    def state_dict(self) -> dict[str, Any]:
        """The position, the same on every process."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a position."""


class Watcher(Protocol):
    """Sees every step; losses that have state of their own are told how they went."""

    def after_step(self, devices: Devices) -> None:
        """Called on all processes after each step."""

    def figures(self) -> Mapping[str, float]:
        """What it measured since the last call, for the log."""

    def state_dict(self) -> dict[str, Any]:
        """What it measured since that call, the same on every process, of plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave."""


class Companion(Protocol):
    """Goes along with a run, may change what its next step does, and has state of its own that snapshots keep."""

    def before_step(self, step: int) -> None:
        """Called on all processes before each step, with the number of steps done."""

    def after_step(self, step: int) -> None:
        """Called on all processes after each step, which counts among those done."""

    def figures(self) -> Mapping[str, Any]:
        """What to say in the log: numbers, or mappings of numbers."""

    def state_dict(self) -> dict[str, Any]:
        """The state, the same on every process, of plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave."""


@dataclass(slots=True)
class TrainState:
    """How far a run has come."""

    step: int = 0
    """Optimiser steps done."""
    tokens: int = 0
    seconds: float = 0.0
    """Of computing, interruptions left out."""
    held_out: dict[str, float] = field(default_factory=dict)
    """What the last evaluation measured."""
    best_score: float | None = None
    """The best value of the metric by which snapshots are kept."""
    best_step: int = 0
    """Where it was measured; of equal ones the last."""
    looks_since_best: int = 0
    """Evaluations since then that were not better."""
    since_log: dict[str, float] = field(
        default_factory=lambda: {"steps": 0, "loss": 0.0, "tokens": 0, "seconds": 0.0}
    )
    """Sums since the last line of the log."""

    def add(self, result: StepResult, seconds: float) -> None:
        """Count a step."""
        self.step += 1
        self.tokens += result.tokens
        self.seconds += seconds
        for name, value in (
            ("steps", 1),
            ("loss", result.loss),
            ("tokens", result.tokens),
            ("seconds", seconds),
        ):
            self.since_log[name] += value

    def judge(self, snapshots: SnapshotConfig) -> Verdict:
        """Compare the last evaluation with the best before it, and remember the better."""
        if snapshots.metric not in self.held_out:
            return "worse"
        score = self.held_out[snapshots.metric]
        verdict = compare(score, self.best_score, higher_is_better=snapshots.higher_is_better)
        if verdict != "worse":
            self.best_score, self.best_step = score, self.step
        self.looks_since_best = 0 if verdict == "better" else self.looks_since_best + 1
        return verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What a run is made of; the loop knows nothing else."""

    task: Task
    model: torch.nn.Module
    """Whose parameters are saved; ``task.module`` may be wrapped."""
    optimiser: SplitAdamW
    data: Data
    devices: Devices
    metrics: MetricSink
    out: Path
    """The run's directory."""
    identity: Mapping[str, Any]
    """What the run is, for its snapshots."""
    generators: Mapping[str, torch.Generator] = field(default_factory=dict)
    """Besides torch's own."""
    evaluate: Callable[[], Mapping[str, float]] | None = None
    """Measures on held-out data."""
    watcher: Watcher | None = None
    companions: Mapping[str, Companion] = field(default_factory=dict)
    """By the name that their state has in snapshots."""
    stop: Callable[[TrainState], bool] | None = None
    """Whether to end after an evaluation, long before the last step; asks the state alone."""
    locate: Callable[[int], str] = str
    """Which text an id is, in words."""


def train(parts: Parts, config: TrainingConfig, state: TrainState) -> TrainState:
    """Train to the last step, or until the run's rule says that it is enough.

    Args:
        parts: Of the run.
        config: Its settings.
        state: Where it stands, see ``resume``; it is changed.

    Returns:
        The state at the end; the last step is saved.

    Raises:
        StoppedError: A signal came; the state is saved.
        NonFiniteLossError: The loss is not finite, and the batch is written out; or the weights are no longer, and are
            not saved. Snapshots stay as they are.
        OutOfMemoryError: A batch does not fit, in halves neither.
        StorageError: The disk refused; older snapshots stay.
    """
    unproven = state.step > 0
    with _claimed(parts), StopSignals() as signals:
        while state.step < config.steps and not _ended(parts, state):
            for companion in parts.companions.values():
                companion.before_step(state.step)
            begun = time.perf_counter()
            result, rate = _step(parts, config, state)
            if unproven:  # until now the newest snapshot may have been of weights that lead nowhere
                _prune(parts, config)
                unproven = False
            if parts.watcher is not None:
                parts.watcher.after_step(parts.devices)
            state.add(result, time.perf_counter() - begun)
            for companion in parts.companions.values():
                companion.after_step(state.step)
            stop = _agreed(parts.devices, signals.received)
            due = state.step % config.snapshots.every_steps == 0
            save = due or stop is not None or state.step == config.steps
            verdict = _evaluate(parts, config, state, save) if _may_look(parts, stop) else None
            evaluated = verdict is not None
            last = state.step == config.steps or (evaluated and _ended(parts, state))
            improved = config.snapshots.on_improvement and verdict in ("better", "equal")
            if last or evaluated or state.step % config.log_every == 0:
                _log(parts, config, state, result, rate, evaluated)
            if save or last or improved:
                _save(parts, config, state, evaluated)
                unproven = True
            if last:
                _prune(parts, config)
            if stop is not None and not last:
                raise StoppedError(_stopped(parts.out, state.step, stop), stop)
    return state


@contextmanager
def _claimed(parts: Parts) -> Iterator[None]:
    """What ``open_run`` claimed is let go at the end."""
    try:
        yield
    finally:
        if parts.devices.is_main:
            release(parts.out)


def resume(parts: Parts, snapshot_parts: Mapping[str, Any]) -> TrainState:
    """Bring everything to where a snapshot was taken; the state to go on with."""
    restore(
        snapshot_parts,
        model=parts.model,
        optimiser=parts.optimiser,
        devices=parts.devices,
        generators=parts.generators,
    )
    parts.data.load_state_dict(snapshot_parts["data"])
    for name, companion in parts.companions.items():
        companion.load_state_dict(snapshot_parts["companions"][name])
    if parts.watcher is not None and "watcher" in snapshot_parts:  # older snapshots have none
        parts.watcher.load_state_dict(snapshot_parts["watcher"])
    return TrainState(**snapshot_parts["state"])


def _step(parts: Parts, config: TrainingConfig, state: TrainState) -> tuple[StepResult, float]:
    rate = config.optimiser.learning_rate * rate_share(config.schedule, state.step, config.steps)
    batches = []
    for _ in range(config.accumulation):
        batch = parts.data.next()
        assert batch is not None, "the data have no end"
        batches.append(batch)
    try:
        result = train_step(
            parts.task,
            parts.optimiser,
            parts.devices,
            batches,
            step=state.step + 1,
            learning_rate=rate,
            max_grad_norm=config.optimiser.max_grad_norm,
        )
    except BadBatches as error:
        raise written_out(
            parts.out, error, state.step + 1, rank=parts.devices.rank, locate=parts.locate
        ) from error
    return result, rate


def _ended(parts: Parts, state: TrainState) -> bool:
    return parts.stop is not None and parts.stop(state)


def _may_look(parts: Parts, stop: int | None) -> bool:
    """Whether there is time to evaluate: after a signal only where the end of the run depends on it."""
    return stop is None or parts.stop is not None


def _evaluate(parts: Parts, config: TrainingConfig, state: TrainState, save: bool) -> Verdict | None:
    """Measure where it is time to; how it compares with the best before."""
    due = state.step % config.evaluate_every == 0 if config.evaluate_every else save
    if parts.evaluate is None or not (due or state.step == config.steps):
        return None
    parts.task.module.eval()
    state.held_out = dict(parts.evaluate())
    parts.task.module.train()
    parts.devices.settle(parts.task.module)
    return state.judge(config.snapshots)


def _log(
    parts: Parts, config: TrainingConfig, state: TrainState, result: StepResult, rate: float, evaluated: bool
) -> None:
    since = state.since_log
    speed = since["tokens"] / max(since["seconds"], 1e-9)
    record = {
        "step": state.step,
        "steps": config.steps,
        "loss": since["loss"] / max(1, since["steps"]),
        **(parts.watcher.figures() if parts.watcher is not None else {}),
        **(state.held_out if evaluated else {}),
        "learning_rate": rate,
        "gradient_norm": result.gradient_norm,
        "tokens": state.tokens,
        "tokens_per_second": speed,
        "seconds": state.seconds,
        "memory_mib": memory_mib(parts.devices.device),
        "peak_memory_mib": peak_memory_mib(parts.devices.device),
        "language_tokens": parts.data.tokens,
    }
    for companion in parts.companions.values():
        record |= companion.figures()
    state.since_log = {"steps": 0, "loss": 0.0, "tokens": 0, "seconds": 0.0}
    if parts.devices.is_main:
        parts.metrics.log(record)


def _save(parts: Parts, config: TrainingConfig, state: TrainState, evaluated: bool) -> None:
    root = parts.out / SNAPSHOTS
    score = state.held_out.get(config.snapshots.metric) if evaluated else None
    if score is not None and config.snapshots.higher_is_better:
        score = -score
    tree = capture(
        model=parts.model, optimiser=parts.optimiser, devices=parts.devices, generators=parts.generators
    )
    _refuse_ruined(parts, tree, state.step)
    tree |= {"data": parts.data.state_dict(), "state": asdict(state)}
    if parts.companions:
        tree["companions"] = {name: each.state_dict() for name, each in parts.companions.items()}
    if parts.watcher is not None:
        tree["watcher"] = parts.watcher.state_dict()
    if parts.devices.is_main:
        try:
            save_snapshot(root, state.step, tree, parts.identity, score=score)
        except StorageError as error:
            older = newest_snapshot(root)
            stays = f"The snapshot {older.path} stays" if older else "There is no older snapshot"
            raise StorageError(f"{error} {stays}; make room and go on with --resume.") from error
    parts.devices.wait()


def _refuse_ruined(parts: Parts, captured: Mapping[str, Any], step: int) -> None:
    """Save nothing that cannot be gone on from."""
    place = not_finite(captured, parts.model)
    (found,) = parts.devices.total([float(place is not None)])
    if found:
        raise no_longer_finite(parts.out, place or "a parameter of another process", step)


def _prune(parts: Parts, config: TrainingConfig) -> None:
    if parts.devices.is_main:
        prune_snapshots(
            parts.out / SNAPSHOTS,
            keep_last=config.snapshots.keep_last,
            keep_best=config.snapshots.keep_best,
        )


def _agreed(devices: Devices, received: int | None) -> int | None:
    """The signal that any process got: all have to stop after the same step."""
    (most,) = devices.total([float(received or 0)]) if devices.world_size > 1 else [float(received or 0)]
    if not most:
        return None
    return received or 15


def _stopped(out: Path, step: int, signum: int) -> str:
    name = _SIGNAL_NAMES.get(signum, f"signal {signum}")
    return f"stopped by {name} after step {step}, which is saved in {out / SNAPSHOTS}. Go on with --resume."
