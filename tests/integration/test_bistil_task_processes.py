"""`bistil task` in two processes: one of them begins the runs, and the other goes along."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from polycompress.modeldir.manifest import read_manifest
from polycompress.training.metrics import read_metrics
from tests.command_line import environment
from tests.pipelines.tiny_pack import make_pack
from tests.tiny_models import make_tiny

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
OPTIONS = (
    "--task", "sib200", "--train-langs", "en", "--steps", "2", "--precision", "fp32", "--device", "cpu", "--attention",
    "maps",
)  # fmt: skip


@pytest.mark.parametrize("tuning", ["full", "sparse"])
def test_two_processes(tmp_path: Path, tuning: str) -> None:
    teacher = make_tiny("xlm-roberta", "base", tmp_path / "teacher", vocab_size=350, num_hidden_layers=2)
    data = make_pack(tmp_path / "data", examples=28)
    out = tmp_path / "run"
    words = ["bistil", "task", teacher, "--teacher", teacher, "--data", data, "--out", out, *OPTIONS]
    done = subprocess.run(
        [sys.executable, *TORCHRUN, "-m", "polycompress", *map(str, words), "--teacher-tuning", tuning],
        capture_output=True,
        text=True,
        env=environment(OMP_NUM_THREADS="1"),
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    manifest = read_manifest(out / "final")
    assert manifest is not None
    assert manifest["finetuning"]["processes"] == 2
    assert read_metrics(out / "sparse" / "metrics.jsonl")[-1]["step"] == 2
    assert (out / "task.diff").is_file()
