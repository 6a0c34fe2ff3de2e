from __future__ import annotations

import errno
import json
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from polycompress.errors import InputError, StorageError
from polycompress.training import snapshots
from polycompress.training.config import OptimiserConfig, ScheduleConfig, SnapshotConfig, TrainingConfig
from polycompress.training.errors import NonFiniteLossError, SnapshotMismatchError, StoppedError
from polycompress.training.loader import BatchLoader
from polycompress.training.loop import Parts, TrainState, resume, train
from polycompress.training.metrics import read_metrics
from polycompress.training.runs import open_run
from polycompress.training.signals import StopSignals
from polycompress.training.snapshots import load_snapshot, newest_snapshot
from tests.pipelines.tiny_runs import Killed
from tests.training.tiny_task import make_parts, same_bits, weights

CONFIG = TrainingConfig(
    steps=20,
    accumulation=2,
    log_every=3,
    schedule=ScheduleConfig(warmup_steps=3),
    optimiser=OptimiserConfig(learning_rate=0.02, weight_decay=0.1),
    snapshots=SnapshotConfig(every_steps=4),
)


def unbroken(tmp_path: Path, config: TrainingConfig = CONFIG) -> Parts:
    parts = make_parts(tmp_path / "unbroken", tmp_path / "data-unbroken")
    train(parts, config, TrainState())
    parts.metrics.close()
    return parts


def taken_up(tmp_path: Path, name: str, config: TrainingConfig = CONFIG, **others: Any) -> Parts:
    """Go on with a run as another process would, with new parts."""
    snapshot = newest_snapshot(tmp_path / name / "snapshots")
    parts = make_parts(
        tmp_path / name,
        tmp_path / f"data-{name}-{len(list(tmp_path.iterdir()))}",
        after=snapshot.step if snapshot else 0,
        **others,
    )
    state = TrainState()
    if snapshot is not None:
        torch.manual_seed(99)  # whatever the new process did with it
        state = resume(parts, load_snapshot(snapshot))
    train(parts, config, state)
    parts.metrics.close()
    return parts


def without_times(path: Path) -> list[dict[str, Any]]:
    timed = ("seconds", "tokens_per_second", "memory_mib", "peak_memory_mib")
    return [
        {key: value for key, value in record.items() if key not in timed} for record in read_metrics(path)
    ]


def test_what_a_run_leaves(tmp_path: Path) -> None:
    parts = unbroken(tmp_path)
    records = read_metrics(parts.out / "metrics.jsonl")
    assert [record["step"] for record in records] == [3, 6, 9, 12, 15, 18, 20]
    assert records[-1]["loss"] < records[0]["loss"]
    assert records[-1]["language_tokens"] == parts.data.tokens
    assert sum(records[-1]["language_tokens"].values()) == records[-1]["tokens"]
    assert records[0]["learning_rate"] == pytest.approx(0.02 * 3 / 4)
    assert sorted(path.name for path in (parts.out / "snapshots").iterdir()) == ["step-16", "step-20"]


@pytest.mark.parametrize("moment", [2, 5, 8, 13, 19])
def test_killed_and_taken_up_it_ends_bit_by_bit_the_same(tmp_path: Path, moment: int) -> None:
    whole = unbroken(tmp_path)

    def kill(record: Mapping[str, Any]) -> None:
        if record["step"] >= moment:
            raise Killed

    broken = make_parts(tmp_path / "broken", tmp_path / "data-broken", tell=kill)
    with pytest.raises(Killed):
        train(broken, replace(CONFIG, log_every=1), TrainState())
    broken.metrics.close()
    again = taken_up(tmp_path, "broken")
    assert same_bits(weights(again), weights(whole))
    assert (
        again.optimiser.state_dict()["tables"][0]["decay_sum"]
        == (whole.optimiser.state_dict()["tables"][0]["decay_sum"])
    )
    assert again.data.state_dict() == whole.data.state_dict()


class Pendulum:
    """A companion that changes the languages' shares by what it saw."""

    def __init__(self, loader: BatchLoader) -> None:
        self.loader, self.seen, self.steps = loader, 0, []

    def before_step(self, step: int) -> None:
        self.steps.append(step)
        if step and step % 3 == 0:
            self.seen += sum(self.loader.tokens.values())
            self.loader.reweigh({"deu-Latn": 1 + self.seen % 7, "swh-Latn": 1 + self.seen % 3})

    def after_step(self, step: int) -> None:
        assert step == self.steps[-1] + 1

    def figures(self) -> Mapping[str, Any]:
        return {"language_shares": self.loader.shares}

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.seen = state["seen"]


def with_pendulum(tmp_path: Path, name: str, **others: Any) -> Parts:
    parts = make_parts(tmp_path / name, tmp_path / f"data-{name}-{len(list(tmp_path.iterdir()))}", **others)
    return replace(parts, companions={"pendulum": Pendulum(parts.data)})


@pytest.mark.parametrize("moment", [2, 6, 9, 13, 19])
def test_killed_with_a_companion_it_ends_bit_by_bit_the_same(tmp_path: Path, moment: int) -> None:
    whole = with_pendulum(tmp_path, "whole")
    train(whole, CONFIG, TrainState())
    whole.metrics.close()
    assert whole.companions["pendulum"].steps == list(range(20))
    shares = {record["language_shares"]["deu-Latn"] for record in read_metrics(whole.out / "metrics.jsonl")}
    assert len(shares) > 2

    broken = with_pendulum(tmp_path, "broken", tell=_raise_after(moment))
    with pytest.raises(Killed):
        train(broken, replace(CONFIG, log_every=1), TrainState())
    broken.metrics.close()
    snapshot = newest_snapshot(tmp_path / "broken" / "snapshots")
    again = with_pendulum(tmp_path, "broken", after=snapshot.step if snapshot else 0)
    state = TrainState() if snapshot is None else resume(again, load_snapshot(snapshot))
    train(again, CONFIG, state)
    again.metrics.close()
    assert same_bits(weights(again), weights(whole))
    assert again.data.state_dict() == whole.data.state_dict()
    assert again.companions["pendulum"].state_dict() == whole.companions["pendulum"].state_dict()


def test_the_log_of_a_run_taken_up_is_that_of_an_unbroken_one(tmp_path: Path) -> None:
    whole = unbroken(tmp_path)

    parts = make_parts(tmp_path / "broken", tmp_path / "data-broken", tell=_raise_after(11))
    with pytest.raises(Killed):
        train(parts, CONFIG, TrainState())
    parts.metrics.close()
    again = taken_up(tmp_path, "broken")
    assert without_times(again.out / "metrics.jsonl") == without_times(whole.out / "metrics.jsonl")


@pytest.mark.parametrize(("number", "code", "name"), [(15, 143, "SIGTERM"), (2, 130, "SIGINT")])
def test_a_signal_saves_and_stops(tmp_path: Path, number: int, code: int, name: str) -> None:
    whole = unbroken(tmp_path)
    before = signal.getsignal(number)

    def send(record: Mapping[str, Any]) -> None:
        if record["step"] == 6:
            os.kill(os.getpid(), number)

    parts = make_parts(tmp_path / "broken", tmp_path / "data-broken", tell=send)
    with pytest.raises(
        StoppedError, match=rf"stopped by {name} after step 7, which is saved in .*--resume"
    ) as caught:
        train(parts, CONFIG, TrainState())
    parts.metrics.close()
    assert caught.value.exit_code == code
    assert signal.getsignal(number) is before
    assert newest_snapshot(tmp_path / "broken" / "snapshots").step == 7  # type: ignore[union-attr]
    assert same_bits(weights(taken_up(tmp_path, "broken")), weights(whole))


def test_a_signal_in_the_last_step_finishes_the_run(tmp_path: Path) -> None:
    def send(record: Mapping[str, Any]) -> None:
        if record["step"] == 19:
            os.kill(os.getpid(), signal.SIGTERM)

    config = replace(CONFIG, log_every=1)
    parts = make_parts(tmp_path / "run", tmp_path / "data", tell=send)
    assert train(parts, config, TrainState()).step == 20
    parts.metrics.close()


def test_a_second_signal_acts_at_once() -> None:
    before = signal.signal(signal.SIGTERM, _killed)
    try:
        with pytest.raises(Killed), StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.received == signal.SIGTERM
            os.kill(os.getpid(), signal.SIGTERM)
            signal.sigpending()
        assert signal.getsignal(signal.SIGTERM) is _killed
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_half_written_snapshot_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = unbroken(tmp_path)
    parts = make_parts(tmp_path / "broken", tmp_path / "data-broken", tell=_raise_after(15))
    with pytest.raises(Killed):
        train(parts, CONFIG, TrainState())
    parts.metrics.close()
    newest = tmp_path / "broken" / "snapshots" / "step-12" / "optimiser.safetensors"
    newest.write_bytes(newest.read_bytes()[:100])
    again = taken_up(tmp_path, "broken")
    assert "step-12 is not whole (optimiser.safetensors has 100 bytes" in caplog.text
    assert f"going on from {tmp_path / 'broken' / 'snapshots' / 'step-8'} instead" in caplog.text
    assert same_bits(weights(again), weights(whole))
    assert newest_snapshot(again.out / "snapshots").step == 20  # type: ignore[union-attr]


def test_a_loss_that_is_no_number_writes_its_batch_out(tmp_path: Path) -> None:

    def poison(record: Mapping[str, Any]) -> None:
        if record["step"] == 6:
            parts.model.poison = 20

    parts = make_parts(tmp_path / "run", tmp_path / "data", tell=poison)
    with pytest.raises(NonFiniteLossError) as caught:
        train(parts, CONFIG, TrainState())
    parts.metrics.close()
    message = str(caught.value)
    assert caught.value.exit_code == 1
    (file,) = (parts.out / "failed").iterdir()
    written = json.loads(file.read_text())
    step = written["step"]
    assert message.startswith(f"step {step}: the loss is nan. The texts of the batch are ")
    assert f"they are written to {file}" in message
    newest = newest_snapshot(parts.out / "snapshots")
    assert newest is not None
    assert newest.step < step
    assert f"The snapshot {newest.path} stays" in message
    labels = [label for batch in written["batches"] for row in batch["labels"] for label in row]
    assert 20 in labels
    assert all(batch["loss"] == "nan" for batch in written["batches"])
    ids = [text_id for batch in written["batches"] for text_id in batch["text_ids"]]
    assert written["texts"] == {str(text_id): f"text {text_id}" for text_id in ids}
    assert all(str(text_id) in message for text_id in ids[:3])


class Ruining:
    """A companion that does something to the model after a step."""

    def __init__(self, at: int, ruin: Callable[[], None]) -> None:
        self.at, self.ruin = at, ruin

    def before_step(self, step: int) -> None:
        pass

    def after_step(self, step: int) -> None:
        if step == self.at:
            self.ruin()

    def figures(self) -> Mapping[str, Any]:
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


def ruined(
    tmp_path: Path, at: int, ruin: Callable[[Parts], None], config: TrainingConfig = CONFIG
) -> tuple[str, list[str]]:
    """The message that such a run ends with, and the snapshots it leaves."""
    parts = make_parts(tmp_path / "run", tmp_path / "data")
    parts = replace(parts, companions={"ruining": Ruining(at, lambda: ruin(parts))})
    with pytest.raises(NonFiniteLossError) as caught:
        train(parts, config, TrainState())
    parts.metrics.close()
    return str(caught.value), sorted(path.name for path in (parts.out / "snapshots").glob("*"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, value: float) -> None:
    def ruin(parts: Parts) -> None:
        with torch.no_grad():
            parts.model.norm.weight[3] = value

    message, left = ruined(tmp_path, 8, ruin)
    assert message.startswith(
        "step 8: it left values in the parameter norm.weight that are not finite, so nothing"
    )
    assert f"The snapshot {tmp_path / 'run/snapshots/step-4'} stays, and is the last good one." in message
    assert "Lower the learning rate" in message
    assert left == ["step-4"]


@pytest.mark.parametrize("kind", ["dense", "table"])
def test_moments_that_are_not_finite_are_never_saved(tmp_path: Path, kind: str) -> None:
    def ruin(parts: Parts) -> None:
        if kind == "dense":
            parts.optimiser.state[parts.model.output.weight]["exp_avg_sq"][0, 0] = float("inf")
        else:
            parts.optimiser._state_of(parts.model.table.weight).second.fill_(float("inf"))

    message, left = ruined(tmp_path, 4, ruin)
    assert message.startswith("step 4: it left values in the optimiser's moments that are not finite")
    assert "There is no snapshot yet." in message
    assert left == []


def test_weights_that_are_finite_but_ruined_do_not_replace_good_ones(tmp_path: Path) -> None:
    def ruin(parts: Parts) -> None:
        with torch.no_grad():
            parts.model.output.weight.fill_(3e38)

    config = replace(CONFIG, snapshots=SnapshotConfig(every_steps=4, keep_last=1))
    message, left = ruined(tmp_path, 12, ruin, config)
    assert message.startswith("step 13: the loss is nan")
    newest = tmp_path / "run/snapshots/step-12"
    assert f"The snapshot {newest} stays, but no step succeeded from it: its weights may be ruined" in message
    assert "To go back to step-8, remove it and use --resume (there is step-8)." in message
    assert left == ["step-12", "step-8"]

    shutil.rmtree(newest)
    whole = unbroken(tmp_path, config)
    assert same_bits(weights(without_ruin(tmp_path, config)), weights(whole))


def without_ruin(tmp_path: Path, config: TrainingConfig) -> Parts:
    """The run gone on with, where whatever ruined it does not come back."""
    parts = make_parts(tmp_path / "run", tmp_path / "data-again", after=8)
    parts = replace(parts, companions={"ruining": Ruining(-1, lambda: None)})
    snapshot = newest_snapshot(parts.out / "snapshots")
    assert snapshot is not None
    train(parts, config, resume(parts, load_snapshot(snapshot)))
    parts.metrics.close()
    assert [path.name for path in (parts.out / "snapshots").iterdir()] == ["step-20"]
    return parts


def test_a_full_disk_keeps_the_older_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = make_parts(tmp_path / "run", tmp_path / "data")
    real = snapshots.write_tensors

    def filling(path: Path, *rest: Any) -> None:
        if ".step-8." in str(path):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(path, *rest)

    monkeypatch.setattr(snapshots, "write_tensors", filling)
    with pytest.raises(StorageError) as caught:
        train(parts, CONFIG, TrainState())
    parts.metrics.close()
    older = parts.out / "snapshots" / "step-4"
    assert "the disk is full" in str(caught.value)
    assert f"The snapshot {older} stays; make room and go on with --resume." in str(caught.value)
    assert [path.name for path in older.parent.iterdir()] == ["step-4"]
    monkeypatch.undo()
    whole = unbroken(tmp_path)
    assert same_bits(weights(taken_up(tmp_path, "run")), weights(whole))


def test_the_best_by_held_out_loss_stays(tmp_path: Path) -> None:
    measured = iter([3.0, 1.0, 2.0, 2.5, 2.6, 9.0])
    parts = make_parts(
        tmp_path / "run", tmp_path / "data", evaluate=lambda: {"held_out_loss": next(measured)}
    )
    state = train(parts, CONFIG, TrainState())
    parts.metrics.close()
    assert sorted(path.name for path in (parts.out / "snapshots").iterdir()) == [
        "step-16",
        "step-20",
        "step-8",
    ]
    assert state.held_out == {"held_out_loss": 2.6}
    logged = {r["step"]: r.get("held_out_loss") for r in read_metrics(parts.out / "metrics.jsonl")}
    assert logged[8] == 1.0
    assert logged[3] is None


def test_evaluation_at_its_own_pace_and_without_dropout(tmp_path: Path) -> None:
    seen: list[bool] = []

    def evaluate() -> dict[str, float]:
        seen.append(parts.model.training)
        return {"held_out_loss": 1.0}

    parts = make_parts(tmp_path / "run", tmp_path / "data", evaluate=evaluate)

    train(parts, replace(CONFIG, evaluate_every=6), TrainState())
    parts.metrics.close()
    assert seen == [False] * 4  # after steps 6, 12, 18 and the last
    assert parts.model.training


def test_a_run_of_another_model_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert open_run(out, {"command": []}, {"model": "a", "training": {"steps": 5}}, resume=False) is None
    with pytest.raises(InputError, match=r"already exists. Go on with the run in it with --resume"):
        open_run(out, {}, {"model": "a", "training": {"steps": 5}}, resume=False)
    with pytest.raises(SnapshotMismatchError, match=r"model: 'a' there, 'b' now"):
        open_run(out, {}, {"model": "b", "training": {"steps": 5}}, resume=True)
    assert open_run(out, {}, {"model": "a", "training": {"steps": 5}}, resume=True) is None
    assert json.loads((out / "config.json").read_text())["settings"]["model"] == "a"


def test_what_is_no_run_is_not_taken_up(tmp_path: Path) -> None:
    (tmp_path / "things").mkdir()
    (tmp_path / "things" / "a.txt").write_text("a")
    with pytest.raises(InputError, match=r"has no config\.json, so it is no run"):
        open_run(tmp_path / "things", {}, {}, resume=True)
    with pytest.raises(InputError, match="is a file"):
        open_run(tmp_path / "things" / "a.txt", {}, {}, resume=True)


def _raise_after(step: int) -> Any:
    def tell(record: Mapping[str, Any]) -> None:
        if record["step"] >= step:
            raise Killed

    return tell


def _killed(*_: Any) -> None:
    raise Killed
