"""What a training step costs on one core: the engine's against the size of the table, and against dense gradients."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from polycompress.kernels.embedding_gradient import SparseEmbedding
from polycompress.training.optimisers import SplitAdamW, clip_gradients, param_groups

LARGE, SMALL = 250_037, 25_000
TEXTS, LENGTH = 8, 32
WARM_UP = 3

_TABLE = "step {}, 250037 rows against 25000"
_DENSE = "step {}, against dense gradients and fused AdamW"
_UNCLIPPED = "step {} without clipping, against dense gradients and fused AdamW"
_FROZEN = "step {} that never touches the table's weights, against dense gradients and fused AdamW"
WANTED = {
    _TABLE.format("fp32"): "<= 1.1",
    _TABLE.format("bf16"): "<= 1.1",
    _DENSE.format("fp32"): "<= 0.45",
    _DENSE.format("bf16"): "<= 0.35",
    _UNCLIPPED.format("fp32"): "<= 0.45",
    _UNCLIPPED.format("bf16"): "<= 0.35",
}

Step = Callable[[str, bool], float]
"""(precision, whether gradients are clipped) -> seconds of processor time of one step."""


def step_ratios(rounds: int) -> tuple[dict[str, float | None], dict[str, float]]:
    """Time whole steps in turn, in this process, on one thread.

    A step is forward, backward, clipping by the global norm (as the engine does unless told otherwise, and the dense
    step by torch's own function; timed without it too) and the update. A 6-layer 384-wide student regresses hidden
    states on fixed targets; 8 texts of 32 tokens, ids by Zipf's law over all rows, spread over the table at random;
    another batch at each step. The same step with a frozen table is the least that any handling of the table can cost.

    Returns:
        Ratios of medians, and the medians in milliseconds of processor time.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    small, large, dense, frozen = (
        _step(SMALL, "sparse"),
        _step(LARGE, "sparse"),
        _step(LARGE, "dense"),
        _step(LARGE, "frozen"),
    )
    runs: dict[str, tuple[Step, bool]] = {
        "25000 rows": (small, True),
        "250037 rows": (large, True),
        "250037 rows, dense": (dense, True),
        "250037 rows, frozen": (frozen, True),
        "250037 rows, not clipped": (large, False),
        "250037 rows, dense, not clipped": (dense, False),
    }
    ratios: dict[str, float | None] = {}
    medians: dict[str, float] = {}
    for precision in ("fp32", "bf16"):
        times: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(WARM_UP + rounds):
            for name, (step, clipping) in runs.items():
                spent = step(precision, clipping)
                if turn >= WARM_UP:
                    times[name].append(spent)
        found = {name: statistics.median(values) for name, values in times.items()}
        for label, over, under in (
            (_TABLE, "250037 rows", "25000 rows"),
            (_DENSE, "250037 rows", "250037 rows, dense"),
            (_FROZEN, "250037 rows, frozen", "250037 rows, dense"),
            (_UNCLIPPED, "250037 rows, not clipped", "250037 rows, dense, not clipped"),
        ):
            ratios[label.format(precision)] = _digits(found[over] / found[under])
        medians |= {f"{precision}, {name}": _digits(1000 * value) for name, value in found.items()}
    torch.set_num_threads(threads)
    return ratios, medians


def _step(rows: int, table: Literal["sparse", "dense", "frozen"]) -> Step:
    """A function that does one step and returns its seconds of processor time."""
    torch.manual_seed(0)
    model = BertModel(
        BertConfig(
            vocab_size=rows,
            hidden_size=384,
            num_hidden_layers=6,
            num_attention_heads=12,
            intermediate_size=1536,
        ),
        add_pooling_layer=False,
    ).train()
    sparse = table == "sparse"
    if table == "frozen":
        model.get_input_embeddings().requires_grad_(False)
    if sparse:
        model.set_input_embeddings(SparseEmbedding.sharing(model.get_input_embeddings()))
        optimiser: Any = SplitAdamW(param_groups(model, 0.01), lr=1e-4)
    else:
        optimiser = torch.optim.AdamW(param_groups(model, 0.01), lr=1e-4, fused=True)
    ids = _zipf(rows, seed=rows)
    target = torch.randn(TEXTS, LENGTH, 384)

    def step(precision: str, clipping: bool) -> float:
        batch = ids()
        started = time.process_time()
        if sparse:
            optimiser.before_forward(batch)
        with _precision(precision):
            loss = nn.functional.mse_loss(model(input_ids=batch).last_hidden_state.float(), target)
        loss.backward()
        if clipping:
            (clip_gradients if sparse else nn.utils.clip_grad_norm_)(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        return time.process_time() - started

    return step


def _zipf(rows: int, seed: int) -> Callable[[], Tensor]:
    """Batches of ids, the k-th most frequent with probability proportional to 1 / k."""
    generator = np.random.default_rng(seed)
    shares = np.cumsum(1 / np.arange(1, rows + 1))
    places = generator.permutation(rows)

    def batch() -> Tensor:
        ranks = np.searchsorted(shares, generator.random(TEXTS * LENGTH) * shares[-1])
        return torch.from_numpy(places[ranks]).view(TEXTS, LENGTH)

    return batch


def _precision(name: str) -> AbstractContextManager[Any]:
    return torch.autocast("cpu", dtype=torch.bfloat16) if name == "bf16" else nullcontext()


def _digits(value: float) -> float:
    return float(f"{value:.4g}")
