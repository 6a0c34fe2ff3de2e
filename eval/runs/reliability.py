"""Killed, without room on the disk, fed with damaged files: what polycompress does then, by the real program.

    python eval/runs/reliability.py --out eval/results/ [--parts kill,disk,fuzz,links,pickle,locks,memory]

Writes ``reliability.json`` and ``reliability.md``; parts that are not asked for stay as a result in OUT has them. Every
draw is made by ``--seed`` and the number of its case: ``--parts fuzz --only 1234`` runs one case again, and
``--keep DIR`` keeps what faulty cases read and printed. Needs everything that the tests need, and Linux.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eval.reliability import disk, fuzzed, kills, larder, links, memory, pickles, races
from eval.reliability.outcome import Found
from eval.reliability.table import as_markdown
from polycompress.evaluation.provenance import machine, versions

PARTS: Final = ("kill", "disk", "fuzz", "links", "pickle", "locks", "memory")


STOCKED: Final[Mapping[str, tuple[str, ...]]] = {
    "fuzz": ("models", "recipes", "data", "results"), "links": ("models",), "pickle": ("models", "data"),
}  # fmt: skip
"""Parts that read the larder, and its rooms that they need."""


def measure(part: str, work: Path, stock: Path, asked: argparse.Namespace) -> Found:
    """Measure one part in an empty directory, with the larder where it needs one."""
    how: Mapping[str, Callable[[], Found]] = {
        "kill": lambda: kills.measure(work, cases=asked.kills, seed=asked.seed),
        "disk": lambda: disk.measure(work, cases=asked.moments, seed=asked.seed),
        "fuzz": lambda: fuzzed.measure(
            work,
            stock,
            numbers=asked.only or range(asked.cases),
            seed=asked.seed,
            workers=asked.workers,
            keep=asked.keep,
            seconds=60 * asked.minutes,
        ),
        "links": lambda: links.measure(work, stock),
        "pickle": lambda: pickles.measure(work, stock),
        "locks": lambda: races.measure(work, cases=asked.pairs, seed=asked.seed),
        "memory": lambda: memory.measure(work, gigabytes=asked.gigabytes),
    }
    return how[part]()


def commit() -> str:
    """The checkout's commit, or nothing where it is none."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def keep(out: Path, part: str, found: Found, seed: int, seconds: float, load: float) -> None:
    """Put a part into the result, beside what it holds already."""
    out.mkdir(parents=True, exist_ok=True)
    place = out / "reliability.json"
    before: dict[str, Any] = json.loads(place.read_text("utf-8")) if place.exists() else {}
    about = {
        "seed": seed, "seconds": round(seconds, 1), "load_average_at_start": round(load, 1), "commit": commit(),
        "machine": machine(), "versions": versions(), "date": datetime.now(UTC).date().isoformat(),
    }  # fmt: skip
    parts = {**before.get("parts", {}), part: {**found.as_dict(), **about}}
    result = {"name": "reliability", "parts": {name: parts[name] for name in PARTS if name in parts}}
    place.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "reliability.md").write_text(as_markdown(result), encoding="utf-8")


def main() -> int:
    """Measure what is asked for; 1 where anything was not as it must be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="directory that keeps the result")
    parser.add_argument("--parts", default=",".join(PARTS), help="of %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=2000, help="damaged inputs")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of damaged inputs, instead")
    parser.add_argument("--workers", type=int, default=2, help="damaged inputs at once")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="after which no further damaged input is begun"
    )
    parser.add_argument("--larder", type=Path, help="directory of sound inputs; filled where it is empty")
    parser.add_argument("--keep", type=Path, help="directory that gets what faulty cases read and printed")
    parser.add_argument("--kills", type=int, default=50, help="runs of a recipe killed")
    parser.add_argument("--moments", type=int, default=20, help="moments at which the disk is full")
    parser.add_argument("--pairs", type=int, default=5, help="of processes at once, for each command")
    parser.add_argument("--gigabytes", type=float, default=8.0, help="of the checkpoint")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parts, wrong = asked.parts.split(","), 0
    if strange := set(parts) - set(PARTS):
        parser.error(f"--parts {', '.join(sorted(strange))}: none of {', '.join(PARTS)}")
    stack = ExitStack()
    larder_root = asked.larder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="larder-")))
    if not (larder_root / "in").exists() and (
        rooms := {room for part in parts for room in STOCKED.get(part, ())}
    ):
        larder.fill(larder_root, sorted(rooms))
    for part in parts:
        began, load = time.monotonic(), os.getloadavg()[0]
        with tempfile.TemporaryDirectory(prefix="reliability-") as room:
            found = measure(part, Path(room), larder_root / "in", asked)
        wrong += len(found.faults)
        print(json.dumps({"part": part, **found.as_dict()}, ensure_ascii=False), flush=True)
        if asked.out is not None:
            keep(asked.out, part, found, asked.seed, time.monotonic() - began, load)
    stack.close()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
