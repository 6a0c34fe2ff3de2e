"""How long the suite ``quick`` takes on the demo model: downloads none, tuning and tokenising included.

Wanted: at most 15 minutes of wall time on two cores.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eval.speed.harness import arguments, data_directory, finish, median, run

NAME = "minutes of the suite quick"


def main() -> None:
    """Run it and report."""
    asked = arguments(__doc__ or "", rounds=1)
    data = data_directory(asked.data)
    wall, processor, scores = [], [], {}
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            command = ["eval", "demo", "--suite", "quick", "--langs", "all", "--data", str(data)]
            done = run([sys.executable, "-m", "polycompress", *command, "--out", scratch, "--json"])
            scores = json.loads(done.stdout)
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
        told=scores,
    )


if __name__ == "__main__":
    main()
