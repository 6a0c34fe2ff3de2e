"""How long the suite ``quick`` takes on the demo model: downloads none, tuning and tokenising included.

Wanted: at most 15 minutes of wall time on two cores.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eval.speed.harness import arguments, data_directory, finish, median, run

NAME = "minutes of the suite quick"


def main() -> None:
    """Run it and report."""
    asked = arguments(__doc__ or "", rounds=1)
    environment = {"POLYCOMPRESS_DATA": str(data_directory(asked.data))}
    wall, processor, tasks = [], [], {}
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            command = ["eval", "demo", "--suite", "quick", "--langs", "all", "--out", scratch, "--json"]
            done = run([sys.executable, "-m", "polycompress", *command], environment)
            tasks = in_short(json.loads(done.stdout))
        wall.append(done.wall_seconds / 60)
        processor.append(done.cpu_seconds / 60)
    finish(
        "quick-speed",
        {NAME: median(wall)},
        {NAME: "<= 15"},
        asked.out,
        unit="minutes",
        rounds=asked.rounds,
        processor_minutes=median(processor),
        tasks=tasks,
    )


def in_short(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Of each task its languages, their mean score, and the seconds that judging took."""
    return {
        result["task"]: {
            "languages": len(result["scores"]),
            "mean score": float(f"{fmean(row['score'] for row in result['scores']):.4g}"),
            "seconds": result["seconds"],
        }
        for result in found["results"]
    }


if __name__ == "__main__":
    main()
