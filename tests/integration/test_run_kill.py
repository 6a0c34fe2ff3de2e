"""A recipe of three stages killed at random moments and taken up again leaves the files of one that was left alone."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eval.reliability import kills
from eval.reliability.kills import Kitchen, kill_after, prepare
from tests.forking import Server
from tests.pipelines.tiny_recipes import contents

pytestmark = pytest.mark.integration

MOMENTS = 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    served = Server(tmp_path_factory.mktemp("server") / "log")
    yield served
    served.close()


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Kitchen:
    return prepare(tmp_path_factory.mktemp("kitchen"), server)


def finish(server: Server, kitchen: Kitchen, out: Path) -> None:
    assert kills.finish(server, kitchen, out) == 0, Path(server.log.name).read_text()


def seeded() -> tuple[random.Random, int]:
    seed = random.Random().randrange(10**9)
    return random.Random(seed), seed


def test_one_run_killed_again_and_again(server: Server, kitchen: Kitchen, tmp_path: Path) -> None:
    chance, seed = seeded()
    out = tmp_path / "run"
    codes = [
        kill_after(server, kitchen, out, chance.uniform(0.1, 0.6) * kitchen.seconds) for _ in range(MOMENTS)
    ]
    assert set(codes) <= {-signal.SIGKILL, 0}, f"seed {seed}"
    assert -signal.SIGKILL in codes, f"seed {seed}"
    finish(server, kitchen, out)
    assert contents(out) == kitchen.wanted, f"seed {seed}"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_it_goes_on(
    server: Server, kitchen: Kitchen, tmp_path: Path, number: int, code: int
) -> None:
    out = tmp_path / "run"
    process = server.start("run", str(kitchen.recipe), "--out", str(out))
    metrics = out / "work" / "student" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not metrics.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process, number)
    assert server.ended() == code
    assert (out / "stages" / "1-small.json").exists()
    assert not (out / "stages" / "2-student").exists()
    finish(server, kitchen, out)
    assert contents(out) == kitchen.wanted


@pytest.mark.slow
def test_fifty_runs_killed_once_each(tmp_path: Path) -> None:
    chance, seed = seeded()
    found = kills.measure(tmp_path, cases=50, seed=chance.randrange(10**9))
    assert found.faults == [], f"seed {seed}"
    assert found.figures["killed before their end"] == 50, f"seed {seed}"
