"""What the kernels cost, on the CPU and, where one is at hand, on a GPU; correctness first.

Each operation is first compared with its float64 reference at a small size: on the GPU, or in Triton's interpreter. A
wrong one stops the script: no speed of a wrong result is reported. Ratios that need a GPU are null without one.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from eval.speed.harness import arguments, finish, run
from polycompress.kernels.choosing import triton_installed

MODULES = (
    "eval.speed.kernel_rows",
    "eval.speed.kernel_factorised_embedding",
    "eval.speed.kernel_linear_distillation",
    "eval.speed.kernel_sampled_softmax",
)
LARGEST_ERROR = 1e-5


def main() -> None:
    """Check, measure and report."""
    asked = arguments(__doc__ or "", rounds=15)
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    ratios: dict[str, float | None] = {}
    wanted: dict[str, str] = {}
    records: list[dict[str, Any]] = []
    errors: dict[str, float] = {}
    for name in [module for module in MODULES if importlib.util.find_spec(module)]:
        module = importlib.import_module(name)
        errors |= _errors(name, device)
        wrong = {kernel: error for kernel, error in errors.items() if not error <= LARGEST_ERROR}
        if wrong:
            raise SystemExit(f"wrong by more than {LARGEST_ERROR} of the largest value: {wrong}")
        section = module.measure(device, asked.rounds)
        ratios |= section.ratios
        wanted |= module.WANTED
        records += section.records
    finish(
        "kernels-speed",
        ratios,
        wanted,
        asked.out,
        device=torch.cuda.get_device_name() if device == "cuda" else "cpu, one thread",
        rounds=asked.rounds,
        kernels_checked="on the GPU" if device == "cuda" else "in Triton's interpreter",
        largest_error=errors,
        records=records,
    )


def _errors(module: str, device: str) -> dict[str, float]:
    """Each kernel's largest error, as a share of the largest value; nothing where Triton is missing."""
    if not triton_installed():
        return {}
    if device == "cuda":
        found: dict[str, float] = importlib.import_module(module).check(device)
        return found
    code = f"import json; from {module} import check; print(json.dumps(check('cpu')))"
    root = str(Path(__file__).resolve().parents[2])
    done = run([sys.executable, "-c", code], env={"TRITON_INTERPRET": "1", "PYTHONPATH": root})
    interpreted: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return interpreted


if __name__ == "__main__":
    main()
