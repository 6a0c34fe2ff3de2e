"""A recipe of three stages killed at random moments and taken up again leaves the files of one that was left alone."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.forking import Server
from tests.pipelines.tiny_recipes import SMALL, contents, make_kitchen, recipe_of, write_recipe

pytestmark = pytest.mark.integration

STAGES = (
    SMALL,
    {
        "name": "student",
        "do": "bistil general",
        "options": {
            "no-trim": True, "layers": 1, "steps": 24, "max-length": 48, "batch-tokens": 400, "snapshot-every": 3,
            "device": "cpu",
        },
    },
    {
        "name": "topics",
        "do": "finetune",
        "options": {"task": "sib200", "steps": 24, "evaluate-every": 4, "max-length": 48, "device": "cpu"},
    },
)  # fmt: skip
MOMENTS = 4


@dataclass(frozen=True, slots=True)
class Kitchen:
    """A recipe, an unbroken run of it, and how long that took."""

    recipe: Path
    wanted: dict[str, bytes]
    seconds: float


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    served = Server(tmp_path_factory.mktemp("server") / "log")
    yield served
    served.close()


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Kitchen:
    root = make_kitchen(tmp_path_factory.mktemp("kitchen"))
    recipe = write_recipe(root, recipe_of(*STAGES))
    started = time.monotonic()
    server.start("run", str(recipe), "--out", str(root / "whole"))
    assert server.ended() == 0, Path(server.log.name).read_text()
    return Kitchen(recipe, contents(root / "whole"), time.monotonic() - started)


def kill_after(server: Server, kitchen: Kitchen, out: Path, seconds: float) -> int:
    """Begin or take up a run, and kill it; how it ended."""
    process = server.start("run", str(kitchen.recipe), "--out", str(out))
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        os.kill(process, signal.SIGKILL)
    return server.ended()


def finish(server: Server, kitchen: Kitchen, out: Path) -> None:
    server.start("run", str(kitchen.recipe), "--out", str(out))
    assert server.ended() == 0, Path(server.log.name).read_text()


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
def test_fifty_runs_killed_once_each(server: Server, kitchen: Kitchen, tmp_path: Path) -> None:
    chance, seed = seeded()
    killed = 0
    for number in range(50):
        out = tmp_path / str(number)
        code = kill_after(server, kitchen, out, chance.random() * kitchen.seconds)
        assert code in (-signal.SIGKILL, 0), f"seed {seed}"
        killed += code != 0
        finish(server, kitchen, out)
        assert contents(out) == kitchen.wanted, f"seed {seed}, run {number}"
    assert killed >= 25, f"seed {seed}"
