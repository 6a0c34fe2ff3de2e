"""A recipe of three stages killed at random moments and taken up again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from eval.reliability.outcome import Found
from tests.forking import Server
from tests.pipelines.tiny_recipes import SMALL, contents, make_kitchen, recipe_of, write_recipe

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


@dataclass(frozen=True, slots=True)
class Kitchen:
    """A recipe, an unbroken run of it, and how long that took."""

    recipe: Path
    wanted: dict[str, bytes]
    seconds: float


def prepare(root: Path, server: Server) -> Kitchen:
    """Make a recipe and carry it out undisturbed."""
    recipe = write_recipe(make_kitchen(root), recipe_of(*STAGES))
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


def finish(server: Server, kitchen: Kitchen, out: Path) -> int:
    """Take a run up and let it end; its exit code."""
    server.start("run", str(kitchen.recipe), "--out", str(out))
    return server.ended()


def measure(room: Path, *, cases: int, seed: int) -> Found:
    """Kill so many runs once each, at moments drawn evenly over an unbroken run, and compare all files but run.json.

    The first run of all is the slowest: others may end before their moment. They are compared, too, and a moment is
    drawn anew.
    """
    found = Found()
    chance = random.Random(seed)
    server = Server(room / "log")
    kitchen = prepare(room / "kitchen", server)
    killed = same = number = 0
    while killed < cases and number < 3 * cases:
        number += 1
        out, moment = room / str(number), chance.random() * kitchen.seconds
        code = kill_after(server, kitchen, out, moment)
        killed += code == -signal.SIGKILL
        last = finish(server, kitchen, out)
        if code in (-signal.SIGKILL, 0) and last == 0 and contents(out) == kitchen.wanted:
            same += 1
        else:
            found.faults.append(
                {"run": number, "killed_after_seconds": round(moment, 3), "codes": [code, last]}
            )
    server.close()
    found.figures = {
        "runs": number, "killed before their end": killed, "resumed and ended with the same files": same,
        "seconds of an unbroken run": round(kitchen.seconds, 1),
    }  # fmt: skip
    return found
