"""The demo model and its German trim side by side: size, memory, latency, throughput, by ``polycompress bench``.

Trims to German from the built-in word frequencies, at the default coverage, and benches both as the command does by
itself: batches of 1, 8 and 32 texts of 32 and 128 tokens, fp32 and bf16, all cores. A trim takes rows of the embedding
away and nothing else; so sizes and memory shrink, and latency stays what it was. No ratio is wanted.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eval.speed.harness import arguments, finish, run

COMMAND = [sys.executable, "-m", "polycompress"]
GRID = ["--batch", "1,8,32", "--length", "32,128"]


def main() -> None:
    """Trim, bench, report."""
    asked = arguments(__doc__ or "", rounds=5)
    with tempfile.TemporaryDirectory() as scratch:
        small = str(Path(scratch) / "e5-small-de")
        run([*COMMAND, "trim", "demo", "--langs", "de", "--out", small, "--json"])
        done = run([*COMMAND, "bench", "demo", small, *GRID, "--rounds", str(asked.rounds), "--json"])
    found: dict[str, Any] = json.loads(done.stdout)
    del found["command"]  # it names the scratch directory, as the paths do
    for model in found["models"]:
        model["path"] = Path(model["path"]).name
    finish("bench", ratios(found), {}, asked.out, unit="German trim over the whole model", bench=found)


def ratios(found: dict[str, Any]) -> dict[str, float]:
    """What the trim has, or does, of what the whole model has or does."""
    whole, small = found["models"]
    shares = {
        "bytes on disk": small["bytes"]["all"] / whole["bytes"]["all"],
        "parameters": small["parameters"]["total"] / whole["parameters"]["total"],
    }
    for precision, loading in whole["loading"].items():
        other = small["loading"][precision]
        shares[f"seconds to load, {precision}"] = other["seconds"] / loading["seconds"]
        shares[f"peak memory, {precision}"] = other["memory"]["peak_mib"] / loading["memory"]["peak_mib"]
    for row in found["ratios"]["speed"]:
        shares[f"speed, {row['precision']}, {row['batch']} of {row['length']}"] = row["speedup"][1]
    return {name: float(f"{share:.4g}") for name, share in shares.items()}


if __name__ == "__main__":
    main()
