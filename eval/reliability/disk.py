"""A disk that is full after some bytes: a real one, of memory, in a mount namespace of the process's own."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from eval.reliability.outcome import Found
from eval.reliability.warm import REPOSITORY
from tests.pipelines.tiny_recipes import SMALL, make_kitchen, recipe_of, write_recipe

NAMESPACE: Final = ("unshare", "--user", "--map-root-user", "--mount")
MODEL_FILES: Final = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json")
WHOLE: Final = tuple(f"*/{name}" for name in MODEL_FILES)


def unavailable() -> str:
    """Why no disk can be mounted here; empty where one can."""
    if not shutil.which("unshare") or not shutil.which("mount"):
        return "there is no unshare or mount"
    script = "mount -t tmpfs -o size=64k tmpfs /mnt && mount -o remount,size=128k /mnt"
    done = subprocess.run([*NAMESPACE, "sh", "-c", script], capture_output=True, text=True, check=False)
    return f"no file system can be mounted: {done.stderr.strip()[:200]}" if done.returncode else ""


def specs(room: Path) -> Mapping[str, dict[str, Any]]:
    """Commands that write, by name.

    Of each: the commands ``before``, the ``command``, how it is taken up ``again``, patterns of the ``lasting`` files
    that two runs write alike, and with what names begin that a failed command ``keeps`` for the next.
    """
    kitchen = make_kitchen(room / "kitchen")
    recipe = write_recipe(kitchen, recipe_of(SMALL, {"name": "check", "do": "verify"}))
    model, text = str(kitchen / "model"), f"de={kitchen / 'de.txt'}"
    trim = ["trim", model, "--langs", "de", "--corpus", text, "--no-frequencies", "--out", "out"]
    mlm = [
        "mlm", model, "--langs", "de", "--corpus", text, "--steps", "6", "--snapshot-every", "2", "--log-every", "1",
        "--max-length", "48", "--batch-tokens", "200", "--device", "cpu", "--out", "run",
    ]  # fmt: skip
    return {
        "trim": {"before": [], "command": [*trim, "--min-count", "1"], "lasting": WHOLE, "keeps": []},
        "trim over an old output": {
            "before": [[*trim, "--size", "300"]],
            "command": [*trim, "--min-count", "1", "--overwrite"],
            "lasting": WHOLE,
            "keeps": [],
        },
        "count": {
            "before": [],
            "command": ["count", model, "--lang", "de", "--corpus", text, "--engine", "process", "--out", "counts.npz"],
            "lasting": ("counts.npz",),
            "keeps": ["counts.npz.parts"],
        },
        "run": {
            "before": [], "command": ["run", str(recipe), "--out", "run"], "lasting": WHOLE, "keeps": ["run"],
        },
        "mlm with snapshots": {
            "before": [], "command": mlm, "again": [*mlm, "--resume"], "keeps": ["run"], "torch": True,
            "lasting": [f"run/final/{name}" for name in MODEL_FILES],
        },
    }  # fmt: skip


def measure(room: Path, *, cases: int, seed: int) -> Found:
    """Let the disk be full after a random share of what each command writes; so many moments in all."""
    if reason := unavailable():
        return Found(unmeasured=reason)
    found = Found()
    room.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)
    asked = specs(room)
    for index, (name, spec) in enumerate(asked.items()):
        shares = [chance.random() for _ in range(index, cases, len(asked))]
        moments = carry_out(room, spec, shares)
        wrong = [dict(moment, command=name) for moment in moments if faults(moment, spec)]
        found.faults += wrong
        found.figures[name] = {
            "moments": len(moments),
            "refused with exit code 1": sum(moment["code"] == 1 for moment in moments),
            "the next run did it": sum(moment["again"] == 0 and moment["same"] for moment in moments),
            "damaged outputs": len(wrong),
        }
    return found


def carry_out(room: Path, spec: Mapping[str, Any], shares: list[float]) -> list[dict[str, Any]]:
    """What happened at each moment: a share of the bytes that the command writes."""
    place = room / "spec.json"
    whole = {
        **spec,
        "shares": shares,
        "disk": str(room / "disk"),
        "cache": str(room / "cache"),
        "log": str(room / "log"),
    }
    place.write_text(json.dumps(whole), encoding="utf-8")
    done = subprocess.run(
        [*NAMESPACE, sys.executable, "-m", "eval.reliability.disk_program", str(place)],
        capture_output=True, text=True, check=False, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"disk_program ended with {done.returncode}:\n{done.stderr[-3000:]}")
    moments: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return moments


def faults(moment: Mapping[str, Any], spec: Mapping[str, Any]) -> list[str]:
    """What is wrong with a moment."""
    wrong = []
    if moment["code"] not in (0, 1) or (moment["code"] and not moment["printed"].strip()):
        wrong.append(f"exit code {moment['code']}")
    if moment["traceback"]:
        wrong.append("a traceback")
    if moment["code"]:
        own = tuple(spec["keeps"])
        wrong += [each for each in moment["changes"] if not each.partition(": ")[2].startswith(own or "/")]
    if moment["again"] or not moment["same"]:
        wrong.append("the next run did not do it")
    return wrong
