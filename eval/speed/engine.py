"""What a training step costs: with the engine's sparse gradients, against the table's size and against dense ones.

On one core, a 6-layer 384-wide student with 8 x 32 tokens (``engine_step.py``): a step with 250,037 rows may cost 1.10
times the step with 25,000 rows, and 0.45 times (bf16: 0.35 times) the same step with dense gradients and fused AdamW.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from eval.speed.engine_step import WANTED as STEP_WANTED
from eval.speed.engine_step import step_ratios
from eval.speed.harness import arguments, finish


def main() -> None:
    """Measure and report."""
    asked = arguments(__doc__ or "", rounds=15)
    load = os.getloadavg()[0]
    ratios, medians = step_ratios(asked.rounds)
    finish(
        "engine-speed",
        ratios,
        STEP_WANTED,
        asked.out,
        unit="milliseconds of processor time, one thread",
        rounds=asked.rounds,
        load_average_at_start=load,
        step_medians=medians,
    )


if __name__ == "__main__":
    main()
