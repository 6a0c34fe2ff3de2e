"""`mlm` in two processes gives what one process gives on the same batches, with DDP and with FSDP."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.command_line import environment
from tests.tiny_models import TEXTS, make_tiny

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def run(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        env=environment(OMP_NUM_THREADS="1"),
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run of one process that takes two batches a step, and its command."""
    root = tmp_path_factory.mktemp("alone")
    # Without dropout, and with every id among the candidates, nothing depends on a process's own generators.
    model = make_tiny(
        "xlm-roberta", "base", root / "model", vocab_size=350, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    (root / "de.txt").write_text("\n".join(f"{TEXTS[i % 16]} {i}" for i in range(120)), encoding="utf-8")
    command = [
        "mlm", str(model), "--langs", "de", "--corpus", str(root / "de.txt"), "--held-out", str(root / "de.txt"),
        "--steps", "16", "--loss", "sampled", "--negatives", "5000", "--batch-tokens", "200", "--max-length", "48",
        "--snapshot-every", "6", "--learning-rate", "1e-3", "--device", "cpu",
        # FSDP adds up the gradient's norm piece by piece; in bf16 that last digit may turn the rounding of a weight.
        "--precision", "fp32",
    ]  # fmt: skip
    run("-m", "polycompress", *command, "--out", str(root / "run"), "--accumulation", "2")
    return root / "run", command


def assert_alike(one: Path, other: Path) -> None:
    first, second = (load_file(run / "final" / "model.safetensors") for run in (one, other))
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(second[name], first[name], rtol=1e-4, atol=2e-6, msg=name)
    losses = [
        [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (one, other)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize("options", [[], ["--fsdp"]], ids=["ddp", "fsdp"])
def test_two_processes(alone: tuple[Path, list[str]], tmp_path: Path, options: list[str]) -> None:
    whole, command = alone
    out = tmp_path / "run"
    run(*TORCHRUN, "-m", "polycompress", *command, *options, "--out", str(out))
    assert_alike(whole, out)
    # Taken up again: only the last snapshot but one is left.
    finished = (out / "final" / "model.safetensors").read_bytes()
    for name in ("final", "snapshots/step-16"):
        (out / name).rename(tmp_path / name.replace("/", "-"))
    run(*TORCHRUN, "-m", "polycompress", *command, *options, "--out", str(out), "--resume")
    assert (out / "final" / "model.safetensors").read_bytes() == finished
