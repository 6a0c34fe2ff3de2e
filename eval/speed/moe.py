"""What experts cost: a student with two layers of experts against its dense parent and against a loop over experts.

A 6-layer 384-wide encoder whose last two layers have 8 experts, 2 for each token, made as copies of the parent's
networks with a random router. Forward pass, and a training step without optimiser (forward, backward; the tables are
frozen, so that nothing but layers is timed), of the same batch in turn in one process, on one thread, in processor
time; on a GPU, where there is one, in wall time with everything in it waited for. The overhead is compared with that
of the operations: (time / dense time - 1) / (operations / dense operations - 1). Correctness first: with copies as
experts the outputs are the parent's.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import transformers
from torch import Tensor

from eval.speed.harness import arguments, finish, median
from polycompress.moe.config import MoeConfig
from polycompress.moe.experts import PARAMETERS, Experts
from polycompress.moe.layer import MoeBlock
from polycompress.moe.places import plain_networks
from polycompress.moe.reference import experts_reference
from polycompress.moe.registering import register

EXPERTS, TOP_K, LAYERS, MOE_LAYERS = 8, 2, 6, (4, 5)
WIDTH, INNER, HEADS = 384, 1536, 12
LENGTH = 128
TEXTS = {"cpu": 16, "cuda": 128}
VOCABULARY = 10_000
LARGEST_ERROR = 1e-5
WARM_UP = 2
PRECISIONS = ("fp32", "bf16")
PASSES = ("forward", "step")
_OVERHEAD = "{} {} on {}: overhead over dense, against that of the operations"
_LOOP = "{} {} on {}: against a loop over experts"
WANTED = {
    **{
        _OVERHEAD.format(run, kind, device): "<= 1.3"
        for run in PASSES
        for kind in PRECISIONS
        for device in TEXTS
    },
    **{_LOOP.format(run, kind, device): "<= 1" for run in PASSES for kind in PRECISIONS for device in TEXTS},
}

Pass = Callable[[str, str], float]
"""(``forward`` or ``step``, precision) -> seconds."""


class LoopExperts(Experts):
    """The same experts, one after the other in plain torch."""

    def forward(self, hidden: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
        """The weighted sum of each token's experts."""
        parameters = {name: getattr(self, name) for name in PARAMETERS}
        return experts_reference(hidden, indices, weights, activation=self.activation, **parameters)


def main() -> None:
    """Check, measure and report."""
    asked = arguments(__doc__ or "", rounds=11)
    torch.set_num_threads(1)
    ratios: dict[str, float | None] = dict.fromkeys(WANTED)
    medians: dict[str, float] = {}
    more = operations(moe=True) / operations(moe=False) - 1
    for device in TEXTS:
        if device == "cuda" and not torch.cuda.is_available():
            continue
        times = measure(device, asked.rounds)
        for run in PASSES:
            for kind in PRECISIONS:
                dense, moe, loop = (
                    statistics.median(times[name, run, kind]) for name in ("dense", "moe", "loop")
                )
                ratios[_OVERHEAD.format(run, kind, device)] = digits((moe / dense - 1) / more)
                ratios[_LOOP.format(run, kind, device)] = digits(moe / loop)
        medians |= {
            f"{device}, {' '.join(key)}": median([1000 * each for each in spent])
            for key, spent in times.items()
        }
    finish(
        "moe-speed",
        ratios,
        WANTED,
        asked.out,
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu, one thread",
        rounds=asked.rounds,
        operations_over_dense=digits(1 + more),
        medians_ms=medians,
    )


def measure(device: str, rounds: int) -> dict[tuple[str, str, str], list[float]]:
    """Seconds of each model, pass and precision, taken in turn."""
    models = make_models(device)
    check(models, device)
    runs = {name: make_pass(model, device) for name, model in models.items()}
    times: dict[tuple[str, str, str], list[float]] = {}
    for turn in range(WARM_UP + rounds):
        for run in PASSES:
            for kind in PRECISIONS:
                for name, once in runs.items():
                    spent = once(run, kind)
                    if turn >= WARM_UP:
                        times.setdefault((name, run, kind), []).append(spent)
    return times


def operations(*, moe: bool) -> float:
    """Multiplications and additions of a token's forward pass; of the backward pass there are twice as many."""
    attention = 8 * WIDTH * WIDTH + 4 * LENGTH * WIDTH
    network = 4 * WIDTH * INNER
    dense = float(LAYERS * (attention + network))
    return dense + len(MOE_LAYERS) * ((TOP_K - 1) * network + 2 * EXPERTS * WIDTH) if moe else dense


def make_models(device: str) -> dict[str, Any]:
    """The parent, the student, and the student whose experts are a loop: equal weights, no dropout."""
    fields: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    torch.manual_seed(0)
    dense = transformers.BertModel(transformers.BertConfig(**fields), add_pooling_layer=False)
    families = {f"F{expert}": (expert,) for expert in range(EXPERTS)}
    moe = MoeConfig(layers=MOE_LAYERS, experts=EXPERTS, top_k=TOP_K, families=families, languages={})
    kind = register("bert")["MoeBertModel"]
    found = {"dense": dense}
    tensors = dict(dense.state_dict())
    for network in plain_networks(dense.config.to_dict(), tensors, MOE_LAYERS):
        for name, experts in zip(network.plain, network.experts, strict=True):
            tensors[experts] = (
                tensors.pop(name).expand(EXPERTS, *network.shape_of(network.plain[name])).clone()
            )
        tensors[network.router] = torch.randn(EXPERTS, WIDTH) * 0.5
    for name in ("moe", "loop"):
        model = kind(kind.config_class(moe=moe.as_dict(), **fields), add_pooling_layer=False)
        model.load_state_dict(tensors)
        found[name] = model
    for block in found["loop"].modules():
        if isinstance(block, MoeBlock):
            block.experts.__class__ = LoopExperts
    for model in found.values():
        model.to(device).embeddings.requires_grad_(False)
    return found


def check(models: dict[str, Any], device: str) -> None:
    """Refuse to time what computes something else.

    Raises:
        SystemExit: Outputs differ.
    """
    ids, mask = batch(device)
    with torch.no_grad():
        outputs = {
            name: model.eval()(input_ids=ids, attention_mask=mask)[0] for name, model in models.items()
        }
    scale = float(outputs["dense"].abs().max())
    errors = {name: float((each - outputs["dense"]).abs().max()) / scale for name, each in outputs.items()}
    if wrong := {name: error for name, error in errors.items() if not error <= LARGEST_ERROR}:
        raise SystemExit(f"wrong by more than {LARGEST_ERROR} of the largest value: {wrong}")


def make_pass(model: Any, device: str) -> Pass:
    """A function that runs a pass and returns how long it took."""
    ids, mask = batch(device)
    target = torch.randn(TEXTS[device], LENGTH, WIDTH, device=device)

    def once(run: str, kind: str) -> float:
        model.train(run == "step")
        began = clock(device)
        with (
            torch.set_grad_enabled(run == "step"),
            torch.autocast(device, torch.bfloat16, enabled=kind == "bf16"),
        ):
            states = model(input_ids=ids, attention_mask=mask)[0]
            loss = torch.nn.functional.mse_loss(states.float(), target)
        if run == "step":
            loss.backward()
        spent = clock(device) - began
        model.zero_grad(set_to_none=True)
        return spent

    return once


def batch(device: str) -> tuple[Tensor, Tensor]:
    """Ids and attention mask, without padding."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, VOCABULARY, (TEXTS[device], LENGTH), generator=generator).to(device)
    return ids, torch.ones_like(ids)


def clock(device: str) -> float:
    """Seconds: of the processor, or of the wall once a GPU has done all."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def digits(value: float) -> float:
    """Four of them."""
    return float(f"{value:.4g}")


if __name__ == "__main__":
    main()
