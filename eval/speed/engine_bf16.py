"""Continued pretraining of the 12-layer demo model in bf16 against fp32: tokens a second, and the curves of the loss.

Three runs take turns, step by step, on the same batches and masks: fp32, bf16, and fp32 with other dropout. The last
says how much two curves differ by chance; bf16's may not differ from fp32's by more. The matrix products of a
layer alone, forward and backward, say how much faster the processor can be at best.

Usage: python eval/speed/engine_bf16.py --out eval/results/ [--rounds STEPS] [--tokens N] [--model DIR]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from eval.speed.harness import data_directory, finish, median
from polycompress.corpora import parse_corpora
from polycompress.languages import find_languages
from polycompress.modeldir.sources import resolve_model
from polycompress.training.batches import Batch
from polycompress.training.batching import Batching
from polycompress.training.devices import Devices
from polycompress.training.loader import BatchLoader
from polycompress.training.masking import Masking, masked_lm
from polycompress.training.mixing import LanguageMixer
from polycompress.training.model import load_language_model
from polycompress.training.objective import LanguageModelling, LanguageTask
from polycompress.training.optimisers import SplitAdamW, param_groups
from polycompress.training.rows import find_tables
from polycompress.training.step import train_step
from polycompress.training.tokenising import Cutting, prepare_examples

WARMUP, RATE = 20, 1e-4
WINDOW = 20
"""Steps over which a curve is averaged before curves are compared: a single batch's loss says little."""


@dataclass(slots=True)
class Engine:
    """One run, its random numbers kept apart from the others'."""

    task: LanguageTask
    optimiser: SplitAdamW
    devices: Devices
    random: torch.Tensor
    seconds: list[float]
    losses: list[float]

    def step(self, batch: Batch, number: int) -> None:
        """Train on a batch and time it."""
        torch.set_rng_state(self.random)
        begun = time.perf_counter()
        result = train_step(
            self.task, self.optimiser, self.devices, [batch], step=number,
            learning_rate=RATE * min(1.0, number / WARMUP), max_grad_norm=1.0,
        )  # fmt: skip
        self.seconds.append(time.perf_counter() - begun)
        self.losses.append(result.loss)
        self.random = torch.get_rng_state()


def make_engine(model: Path, precision: Any, seed: int) -> Engine:
    """A run at its beginning: the same head for all, dropout by the seed."""
    torch.manual_seed(0)
    loaded = load_language_model(model, json.loads((model / "config.json").read_text(encoding="utf-8")))
    objective = LanguageModelling(loaded.model, loaded.kind, "sampled")
    devices = Devices(precision=precision, device="cpu")
    module = devices.wrap(objective, find_tables(objective))
    module.train()
    torch.manual_seed(seed)
    task = LanguageTask(
        objective, module, negatives=4096, generator=torch.Generator().manual_seed(1), device=devices.device
    )
    optimiser = SplitAdamW(param_groups(objective, 0.01), lr=RATE)
    return Engine(task, optimiser, devices, torch.get_rng_state(), [], [])


def make_batches(model: Path, data: Path, work: Path, tokens: int) -> BatchLoader:
    """Real text in two languages, masked."""
    document = (model / "tokenizer.json").read_text(encoding="utf-8")
    corpora = parse_corpora(
        [f"{code}={data / 'text' / f'{code}.txt.gz'}" for code in ("de", "sw")], find_languages("de,sw")
    )
    examples = prepare_examples(document, corpora, work, Cutting(max_length=64))
    from tokenizers import Tokenizer

    objective = masked_lm(Tokenizer.from_str(document), "<mask>", Masking(), 0)
    return BatchLoader(
        examples, LanguageMixer(examples), Batching(token_budget=tokens), pad_id=1, objective=objective
    )


def averaged(losses: Sequence[float], window: int) -> list[float]:
    """Means of so many neighbours, moving by one."""
    return [math.fsum(losses[end - window : end]) / window for end in range(window, len(losses) + 1)]


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """Root mean square of the differences of two curves."""
    window = min(WINDOW, len(one))
    pairs = list(zip(averaged(one, window), averaged(other, window), strict=True))
    return math.sqrt(math.fsum((a - b) ** 2 for a, b in pairs) / len(pairs))


def products(tokens: int) -> float:
    """How many times faster the products of one layer are in bf16: forward, and both gradients, of its linear maps."""
    shapes = [(384, 384)] * 4 + [(384, 1536), (1536, 384)]
    seconds: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    for turn in range(2 + 15):
        for dtype, found in seconds.items():
            operands = [
                (
                    torch.randn(tokens, k).to(dtype),
                    torch.randn(n, k).to(dtype),
                    torch.randn(tokens, n).to(dtype),
                )
                for k, n in shapes
            ]
            begun = time.perf_counter()
            for inputs, weight, upstream in operands:
                torch.nn.functional.linear(inputs, weight)
                upstream @ weight
                upstream.t() @ inputs
            if turn >= 2:
                found.append(time.perf_counter() - begun)
    pairs = zip(seconds[torch.float32], seconds[torch.bfloat16], strict=True)
    return median([slow / fast for slow, fast in pairs])


def main() -> None:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="steps of each run")
    parser.add_argument("--tokens", type=int, default=2048, help="of a batch, padding included")
    parser.add_argument("--model", default="demo", help="as of any command")
    parser.add_argument(
        "--data", type=Path, help="data directory; else POLYCOMPRESS_DATA, else ../shared/data"
    )
    parser.add_argument("--out", type=Path, help="directory that keeps the result")
    asked = parser.parse_args()
    model = resolve_model(asked.model).path
    with tempfile.TemporaryDirectory() as work:
        batches = make_batches(model, data_directory(asked.data), Path(work), asked.tokens)
        engines = {
            "fp32": make_engine(model, "fp32", 0),
            "bf16": make_engine(model, "bf16", 0),
            "fp32, other dropout": make_engine(model, "fp32", 1),
        }
        tokens = []
        for number in range(1, asked.rounds + 1):
            batch = batches.next()
            assert batch is not None
            tokens.append(batch.tokens)
            for engine in engines.values():
                engine.step(batch, number)
    speed = {
        name: median([count / seconds for count, seconds in zip(tokens, engine.seconds, strict=True)])
        for name, engine in engines.items()
    }
    pairs = zip(engines["fp32"].seconds, engines["bf16"].seconds, strict=True)
    losses = {name: engine.losses for name, engine in engines.items()}
    by_chance = distance(losses["fp32"], losses["fp32, other dropout"])
    ratios = {
        "bf16 / fp32 tokens a second": median([slow / fast for slow, fast in pairs]),
        "bf16 / fp32, the matrix products alone": products(asked.tokens),
        "curves: |bf16 - fp32| / |fp32, other dropout - fp32|": float(
            f"{distance(losses['fp32'], losses['bf16']) / by_chance:.4g}"
        ),
    }
    finish(
        "engine-bf16",
        ratios,
        {
            "bf16 / fp32 tokens a second": ">= 2",
            "curves: |bf16 - fp32| / |fp32, other dropout - fp32|": "<= 1",
        },
        asked.out,
        steps=asked.rounds,
        batch_tokens=asked.tokens,
        threads=torch.get_num_threads(),
        bf16_hardware=_flags(),
        tokens_per_second=speed,
        losses={name: [round(loss, 4) for loss in curve] for name, curve in losses.items()},
    )


def _flags() -> list[str]:
    """What the processor says of bf16."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    return [flag for flag in ("avx512_bf16", "amx_bf16") if flag in text]


if __name__ == "__main__":
    main()
