"""Two processes that write to one place at once."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from eval.reliability.outcome import Found
from eval.reliability.warm import TORCH, Ending, Warm
from eval.reliability.watching import snapshot
from tests.pipelines.tiny_recipes import SMALL, make_kitchen, recipe_of, write_recipe

SAYS: Final = ("already exists", "was made by someone else meanwhile", "another process is at work in it")
"""What the one that came second says, in whichever step it finds out."""
PATIENCE: Final = 600.0


def commands(root: Path) -> Mapping[str, tuple[tuple[str, ...], str]]:
    """By name: a command that writes to ``out``, and the file of the output that is compared."""
    kitchen = make_kitchen(root)
    model, text = str(kitchen / "model"), f"de={kitchen / 'de.txt'}"
    trim = (
        "trim",
        model,
        "--langs",
        "de",
        "--corpus",
        text,
        "--no-frequencies",
        "--min-count",
        "1",
        "--out",
        "out",
    )
    mlm = (
        "mlm", model, "--langs", "de", "--corpus", text, "--steps", "6", "--snapshot-every", "2", "--max-length", "48",
        "--batch-tokens", "200", "--device", "cpu", "--out", "out",
    )  # fmt: skip
    recipe = write_recipe(kitchen, recipe_of(SMALL, {"name": "check", "do": "verify"}))
    return {
        "trim": (trim, "model.safetensors"),
        "run": (("run", str(recipe), "--out", "out"), "stages/1-small/model.safetensors"),
        "mlm": (mlm, "final/model.safetensors"),
        "mlm --resume": ((*mlm, "--resume"), "final/model.safetensors"),
    }


def both(pair: tuple[Warm, Warm], command: tuple[str, ...], desk: Path, late: float) -> tuple[Ending, Ending]:
    """Run one command twice, the second so many seconds later."""

    def one(index: int) -> Ending:
        time.sleep(index * late)
        return pair[index].run(command, cwd=desk, seconds=PATIENCE)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(one, (0, 1))
    return first, second


def digest(path: Path) -> str:
    """Of a file; empty where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def faults(endings: tuple[Ending, Ending], out: Path, name: str, wanted: str) -> list[str]:
    """What is wrong with how two ended: one wins, the other says so or finds everything done."""
    wrong = [f"exit code {each.code}" for each in endings if each.code not in (0, 2)]
    wrong += ["a traceback" for each in endings if "Traceback" in each.output]
    if all(each.code for each in endings):
        wrong.append("neither won")
    wrong += [
        "no word of the other"
        for each in endings
        if each.code == 2 and not any(say in each.output for say in SAYS)
    ]
    if digest(out / name) != wanted:
        wrong.append("the output is not whole")
    wrong += [f"left behind: {left}" for left in snapshot(out.parent) if ".polycompress-" in left]
    return wrong


def measure(room: Path, *, cases: int, seed: int) -> Found:
    """Start each command twice, so many times, the second at a random moment of the first."""
    found, chance = Found(), random.Random(seed)
    asked = commands(room / "kitchen")
    with Warm(room / "log-0", TORCH, QUIET) as one, Warm(room / "log-1", TORCH, QUIET) as other:
        for name, (command, file) in asked.items():
            alone = room / name / "alone"
            alone.mkdir(parents=True)
            ending = one.run(command, cwd=alone, seconds=PATIENCE)
            assert ending.code == 0, ending.output
            wanted, said, finished = digest(alone / "out" / file), 0, 0
            for number in range(cases):
                desk = room / name / str(number)
                desk.mkdir()
                endings = both((one, other), command, desk, chance.random() * ending.seconds * 0.8)
                said += sum(each.code == 2 for each in endings)
                finished += all(each.code == 0 for each in endings)
                if wrong := faults(endings, desk / "out", file, wanted):
                    printed = [each.output[-300:] for each in endings]
                    found.faults.append(
                        {"command": name, "pair": number, "faults": wrong, "printed": printed}
                    )
            found.figures[name] = {
                "pairs": cases, "the other said so": said, "came after the end and found all done": finished,
            }  # fmt: skip
    return found


QUIET: Final = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
