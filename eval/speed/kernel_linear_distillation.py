"""``linear_distillation`` against logits, softmax and divergence one after the other, and against liger-kernel.

The unfused version is plain torch: two heads, two ``log_softmax`` in float32, ``kl_div``, autograd. liger-kernel's
fused linear Jensen-Shannon divergence covers beta 0.5 at temperature 1 on a GPU; where it is installed both are timed
on that.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from eval.speed.harness import run
from eval.speed.kernel_harness import Section, alternate, copy_bandwidth, digits, record
from eval.speed.kernel_products import largest_error, peak_above, product_rate, step
from polycompress.kernels.linear_distillation import linear_distillation, linear_distillation_reference

TEACHER, STUDENT = 768, 384
CUDA_TOKENS, CUDA_ROWS = 8_192, 250_000
CPU_TOKENS, CPU_ROWS = 512, 50_000

_MEMORY = "linear_distillation cuda, 8192 tokens, bf16: peak memory of ours against unfused"
_TIME = "linear_distillation cuda, 8192 tokens, bf16: time of ours against unfused"
_LIGER = "linear_distillation cuda, 8192 tokens, bf16: time of ours against liger-kernel's linear JSD"
WANTED = {_MEMORY: "<= 0.1", _TIME: "<= 1"}

Inputs = list[torch.Tensor]


def measure(device: str, rounds: int) -> Section:
    """Time both and take their peak memory; without a GPU the wanted ratios are None."""
    ratios: dict[str, float | None] = {**dict.fromkeys(WANTED), _LIGER: None}
    records: list[dict[str, Any]] = []
    if device == "cuda":
        inputs = make(CUDA_TOKENS, CUDA_ROWS, torch.bfloat16, device)
        steps = {name: step(partial(way, inputs), inputs[:2]) for name, way in _ways().items()}
        peaks = {name: peak_above(one, inputs[:2]) for name, one in steps.items()}
        fitting = {name: one for name, one in steps.items() if peaks[name] is not None}
        times = alternate(fitting, device, rounds)
        records += _records(times, peaks, inputs, device)
        medians = {name: statistics.median(values) for name, values in times.items()}
        if "unfused" in times:
            ratios[_TIME] = digits(medians["ours"] / medians["unfused"])
            ratios[_MEMORY] = digits((peaks["ours"] or 0) / (peaks["unfused"] or 1))
        if "liger" in times:
            ratios[_LIGER] = digits(medians["ours, jensen-shannon"] / medians["liger"])
        return Section(ratios=ratios, records=records)
    for dtype in (torch.float32, torch.bfloat16):
        kind = str(dtype).removeprefix("torch.")
        inputs = make(CPU_TOKENS, CPU_ROWS, dtype, device)
        ways = {"unfused": unfused, "ours": ours}
        steps = {name: step(partial(way, inputs), inputs[:2]) for name, way in ways.items()}
        times = alternate(steps, device, min(rounds, 3), warm_up=1)
        peaks = {name: _peak_of_process(name, kind) for name in ways}
        records += _records(times, peaks, inputs, device)
        prefix = f"linear_distillation cpu, {CPU_TOKENS} tokens, {CPU_ROWS} rows, {kind}:"
        ratio = statistics.median(times["ours"]) / statistics.median(times["unfused"])
        ratios[f"{prefix} time of ours against unfused"] = digits(ratio)
        ratios[f"{prefix} peak memory of ours against unfused"] = digits(peaks["ours"] / peaks["unfused"])
    return Section(ratios=ratios, records=records)


def check(device: str) -> dict[str, float]:
    """The largest error of the Triton kernel at a small size, over all divergences, against float64."""
    inputs = make(9, 141, torch.float32, "cpu", student=17, teacher=23, scale=0.3)
    labels = torch.arange(9) * 7
    errors = {}
    for divergence in ("forward", "reverse", "jensen-shannon"):
        settings = {"divergence": divergence, "temperature": 2.0, "hard_weight": 0.3}
        exact = [tensor.detach().double().requires_grad_(tensor.requires_grad) for tensor in inputs]
        ours_in = [tensor.detach().to(device).requires_grad_(tensor.requires_grad) for tensor in inputs]
        found = linear_distillation(*ours_in, labels.to(device), **settings, impl="triton")
        wanted = linear_distillation_reference(*exact, labels, **settings)
        gradients = torch.autograd.grad(found, ours_in[:2])
        rights = torch.autograd.grad(wanted, exact[:2])
        errors[f"linear_distillation {divergence}"] = largest_error(
            [tensor.cpu() for tensor in (found, *gradients)], [wanted, *rights]
        )
    return errors


def make(
    tokens: int,
    rows: int,
    dtype: torch.dtype,
    device: str,
    student: int = STUDENT,
    teacher: int = TEACHER,
    scale: float = 0.1,
) -> Inputs:
    """Student's hidden states and table, which learn, and the teacher's."""
    torch.manual_seed(0)
    shapes = ((tokens, student), (rows, student), (tokens, teacher), (rows, teacher))
    tensors = [torch.randn(*shape, device=device) for shape in shapes]
    tensors[1] *= scale
    tensors[3] *= scale
    return [tensor.to(dtype).requires_grad_(place < 2) for place, tensor in enumerate(tensors)]


def ours(inputs: Inputs, **settings: Any) -> torch.Tensor:
    """The operation."""
    return linear_distillation(*inputs, **settings)


def unfused(inputs: Inputs) -> torch.Tensor:
    """The same in plain torch."""
    student = torch.log_softmax(inputs[0] @ inputs[1].T, dim=1, dtype=torch.float32)
    with torch.no_grad():
        teacher = torch.log_softmax(inputs[2] @ inputs[3].T, dim=1, dtype=torch.float32)
    return torch.nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)


def _ways() -> dict[str, Callable[[Inputs], torch.Tensor]]:
    ways: dict[str, Callable[[Inputs], torch.Tensor]] = {"unfused": unfused, "ours": ours}
    if importlib.util.find_spec("liger_kernel"):
        from liger_kernel.ops.fused_linear_jsd import LigerFusedLinearJSDFunction

        ways["ours, jensen-shannon"] = lambda inputs: ours(inputs, divergence="jensen-shannon", beta=0.5)
        ways["liger"] = lambda inputs: LigerFusedLinearJSDFunction.apply(*inputs, None, 0.5, -100, 1.0)
    return ways


def _records(
    times: dict[str, list[float]], peaks: dict[str, int | None], inputs: Inputs, device: str
) -> list[dict[str, Any]]:
    limit, rate = copy_bandwidth(device), product_rate(device, inputs[0].dtype)
    tokens, rows = len(inputs[0]), len(inputs[1])
    operations = 2 * tokens * rows * (3 * inputs[0].shape[1] + inputs[2].shape[1])
    moved = sum(tensor.numel() * tensor.itemsize * (2 if tensor.requires_grad else 1) for tensor in inputs)
    names = {"ours": "linear_distillation", "ours, jensen-shannon": "linear_distillation, jensen-shannon"}
    return [
        record(
            names.get(name, f"{name} distillation"),
            spent,
            bytes_moved=moved,
            operations=operations,
            limit=limit,
            tokens=tokens,
            rows=rows,
            student=inputs[0].shape[1],
            teacher=inputs[2].shape[1],
            type=str(inputs[0].dtype),
            share_of_product_rate=digits(operations / statistics.median(spent) / rate),
            peak_bytes=peaks[name],
        )
        for name, spent in times.items()
    ]


_ONE_CALL = """
import sys
from pathlib import Path
import torch
from eval.speed import kernel_linear_distillation as module

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

torch.set_num_threads(1)
way, dtype = getattr(module, sys.argv[1]), getattr(torch, sys.argv[2])
way(module.make(8, 64, dtype, "cpu")).backward()  # what torch loads at first use is there before
inputs = module.make(module.CPU_TOKENS, module.CPU_ROWS, dtype, "cpu")
gradients = [torch.ones_like(tensor) for tensor in inputs[:2]]  # their share of the peak is not counted
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is held now
before = peak()
del gradients
way(inputs).backward()
print(peak() - before)
"""


def _peak_of_process(way: str, kind: str) -> int:
    """Bytes that a call holds at most beyond inputs and gradients, as the operating system sees it."""
    root = str(Path(__file__).resolve().parents[2])
    done = run([sys.executable, "-c", _ONE_CALL, way, kind], env={"PYTHONPATH": root})
    peak: int = json.loads(done.stdout)
    return peak
