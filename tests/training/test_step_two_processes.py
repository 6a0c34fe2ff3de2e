"""Of two processes one runs out of memory: its batches are split, and both end with one process's weights."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from polycompress.training.batches import Batch
from polycompress.training.devices import Devices
from polycompress.training.errors import OutOfMemoryError
from polycompress.training.optimisers import SplitAdamW
from polycompress.training.step import StepResult, train_step
from tests.training.tiny_task import TinyModel, TinyTask, make_loader, make_task

WORLD, STEPS = 2, 4


@dataclass(frozen=True)
class Wrapped(TinyTask):
    """A tiny task whose module is called through a wrapper."""

    module: Any


def step(task: Any, optimiser: SplitAdamW, devices: Devices, batches: list[Batch], number: int) -> StepResult:
    return train_step(task, optimiser, devices, batches, step=number, learning_rate=0.01, max_grad_norm=0.5)


def make_batches(folder: Path) -> list[list[Batch]]:
    """For each step one for each process; the widest come last."""
    loader = make_loader(folder)
    found = [batch for batch in (loader.next() for _ in range(WORLD * STEPS)) if batch is not None]
    found.sort(key=lambda batch: len(batch.input_ids))
    return [found[begin : begin + WORLD] for begin in range(0, len(found), WORLD)]


def in_forward(model: TinyModel, limit: int) -> None:
    model.rows_limit = limit


def in_backward(model: TinyModel, limit: int) -> None:
    """Memory fails when gradients of the later layers are there already."""

    def refuse(gradient: Tensor) -> None:
        if len(gradient) > limit:
            raise MemoryError

    model.norm.register_forward_hook(lambda _, __, made: made.register_hook(refuse) and None)


FAILING: dict[str, Callable[[TinyModel, int], None]] = {"forward": in_forward, "backward": in_backward}


class Told(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def run(rank: int, port: int, out: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(WORLD),
        "LOCAL_WORLD_SIZE": str(WORLD),
    }
    distributed.init_process_group("gloo", rank=rank, world_size=WORLD, timeout=timedelta(seconds=120))
    batches: list[list[Batch]] = torch.load(f"{out}/batches.pt", weights_only=False)
    limit = (len(batches[-1][1].input_ids) + 1) // 2
    told = Told()
    logging.getLogger("polycompress.training.step").addHandler(told)
    for where, fail in FAILING.items():
        task, optimiser = make_task()
        devices = Devices(device="cpu")
        if rank == 1:
            fail(task.module, limit)
        wrapped = Wrapped(devices.wrap(task.module, optimiser.tables))
        told.lines.clear()
        results = [
            step(wrapped, optimiser, devices, [of_step[rank]], number)
            for number, of_step in enumerate(batches)
        ]
        torch.save(
            {
                "weights": optimiser.exported_state(task.module),
                "losses": [result.loss for result in results],
                "norms": [result.gradient_norm for result in results],
                "told": told.lines[:],
            },
            f"{out}/{where}-{rank}.pt",
        )
    task, optimiser = make_task()
    devices = Devices(device="cpu")
    task.module.rows_limit = 1 if rank == 1 else None
    wrapped = Wrapped(devices.wrap(task.module, optimiser.tables))
    try:
        step(wrapped, optimiser, devices, [batches[-1][rank]], 9)
    except OutOfMemoryError as error:
        Path(out, f"error-{rank}").write_text(str(error))
    distributed.barrier()  # gloo's threads may abort where the other side is torn down while they still talk to it
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes wrote."""
    path = tmp_path_factory.mktemp("processes")
    torch.save(make_batches(path / "data"), path / "batches.pt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(run, args=(port, str(path)), nprocs=WORLD, join=True)
    return path


@pytest.mark.parametrize("where", FAILING)
def test_the_one_whose_memory_fails_splits_its_batches(results: Path, where: str) -> None:
    task, optimiser = make_task()
    alone = Devices(device="cpu")
    batches: list[list[Batch]] = torch.load(results / "batches.pt", weights_only=False)
    expected = [step(task, optimiser, alone, of_step, number) for number, of_step in enumerate(batches)]
    wanted = optimiser.exported_state(task.module)
    first, second = (torch.load(results / f"{where}-{rank}.pt") for rank in range(WORLD))
    for name in wanted:
        assert torch.equal(first["weights"][name], second["weights"][name]), name
        torch.testing.assert_close(first["weights"][name], wanted[name], rtol=1e-4, atol=1e-6)
    assert first["losses"] == pytest.approx([each.loss for each in expected], rel=1e-5)
    assert first["norms"] == pytest.approx([each.gradient_norm for each in expected], rel=1e-4)
    assert not first["told"]
    assert second["told"]
    assert all("out of memory; its batches are split in halves" in line for line in second["told"])
    assert len(second["told"]) < STEPS, "narrow batches fit"


def test_halves_that_do_not_fit_either_stop_all_processes_at_once(results: Path) -> None:
    assert "step 9: out of memory in another process" in (results / "error-0").read_text()
    assert "in halves neither" in (results / "error-1").read_text()


def test_a_batch_that_others_wait_for_already_stops_the_run(tmp_path: Path, monkeypatch: Any) -> None:
    """As with FSDP, whose processes wait for each other in the forward pass."""
    task, optimiser = make_task()
    task.module.rows_limit = 1
    devices = Devices(device="cpu", parallel="fsdp")
    monkeypatch.setattr(Devices, "world_size", 2)
    monkeypatch.setattr(Devices, "total", lambda self, values: list(values))
    with pytest.raises(OutOfMemoryError, match="and other processes wait for this one already"):
        step(task, optimiser, devices, [make_batches(tmp_path / "data")[-1][0]], 3)
    assert all(parameter.grad is None for parameter in task.module.parameters())


def test_what_is_larger_in_one_direction_is_not_known_to_fit() -> None:
    fitted = Devices(device="cpu").fitted
    for shape in ((8, 16), (2, 64), (4, 16)):
        fitted.add(shape)
    assert fitted.cover((8, 16))
    assert fitted.cover((1, 64))
    assert fitted.cover((3, 10))
    assert not fitted.cover((9, 1))
    assert not fitted.cover((3, 17))
