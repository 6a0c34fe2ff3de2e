"""`distil` in two processes gives what one process gives on the same batches."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from polycompress.training.metrics import read_metrics
from tests.command_line import environment
from tests.pipelines.tiny_pack import make_pack
from tests.pipelines.tiny_runs import weights, write_corpora
from tests.tiny_models import TEXTS, make_tiny

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
RECIPE = """teacher: @ROOT/teacher
student: {layers: 2}
languages: {source: en, target: sw}
corpora: ['en=@ROOT/en.txt', 'sw=@ROOT/sw.txt']
training: {device: cpu, precision: fp32, max_length: 48, batch_tokens: 300, log_every: 1, seed: 0, learning_rate: 1e-3,
  steps: 4}
stages:
  - {name: asked, losses: [minilmv2], masked: false}
  - {name: kept, losses: [hidden-mse, sentence-vectors], masked: false, keep: true}
  - {name: parallel, pairs: 'en-sw=@ROOT/pairs.tsv'}
  - {name: task, task: sib200, teacher: teacher, losses: [hidden-mse], keep: true}
"""


def run(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        env=environment(OMP_NUM_THREADS="1"),
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]


def test_two_processes(tmp_path: Path) -> None:
    make_tiny(
        "xlm-roberta", "base", tmp_path / "teacher", vocab_size=350, num_hidden_layers=4, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    write_corpora(tmp_path, {"en": 30, "sw": 30})
    make_pack(tmp_path / "data", examples=28)
    (tmp_path / "pairs.tsv").write_text("".join(f"{text}\t{text} sw\n" for text in TEXTS), encoding="utf-8")
    recipe = RECIPE.replace("@ROOT", str(tmp_path)).replace("[minilmv2]", "[{name: minilmv2, options: @}]")
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.replace("@", "{relation_heads: 2}"), encoding="utf-8")
    command = ["-m", "polycompress", "distil", "--config", str(path), "--data", str(tmp_path / "data")]
    run(*command, "--out", str(tmp_path / "one"), "--set", "training.accumulation=2")
    run(*TORCHRUN, *command, "--out", str(tmp_path / "two"))
    for stage in ("1-asked", "2-kept", "3-parallel"):
        one, two = (tmp_path / name / "stages" / stage for name in ("one", "two"))
        losses = [[record["loss"] for record in read_metrics(each / "metrics.jsonl")] for each in (one, two)]
        assert losses[1] == pytest.approx(losses[0], rel=1e-4)
        first, second = weights(one / "final"), weights(two / "final")
        for name in first:
            torch.testing.assert_close(second[name], first[name], rtol=1e-3, atol=1e-5, msg=name)
    assert (tmp_path / "two" / "stages" / "4-task" / "final").is_dir(), "other batches than one process has"
