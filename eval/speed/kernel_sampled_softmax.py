"""``sampled_softmax`` against the full cross-entropy with its dense gradient."""

from __future__ import annotations

import statistics

import torch

from eval.speed.kernel_harness import Section, alternate, copy_bandwidth, digits, record, zipf
from eval.speed.kernel_products import largest_error, peak_above, product_rate, step
from polycompress.kernels.sampled_softmax import (
    draw_negatives,
    join_candidates,
    sampled_softmax,
    sampled_softmax_reference,
)

ROWS, TRIES = 250_000, 8_192
# Masked positions of 8 x 32 tokens on the CPU; of 16,384 on a GPU.
CPU_TOKENS, CPU_WIDTH, CPU_TYPE = 40, 384, torch.float32
CUDA_TOKENS, CUDA_WIDTH, CUDA_TYPE = 2_458, 768, torch.bfloat16

WANTED: dict[str, str] = {}


def measure(device: str, rounds: int) -> Section:
    """Time both, the drawing of negatives included in ours."""
    cuda = device == "cuda"
    tokens, width, dtype = (CUDA_TOKENS, CUDA_WIDTH, CUDA_TYPE) if cuda else (CPU_TOKENS, CPU_WIDTH, CPU_TYPE)
    torch.manual_seed(0)
    hidden = torch.randn(tokens, width, device=device).to(dtype).requires_grad_()
    table = (torch.randn(ROWS, width, device=device) * 0.05).to(dtype).requires_grad_()
    labels = zipf(tokens, ROWS, device)
    generator = torch.Generator(device).manual_seed(0)

    def ours() -> torch.Tensor:
        drawn = draw_negatives(labels, ROWS, TRIES, generator=generator)
        return sampled_softmax(hidden, table, labels, *drawn)

    def full() -> torch.Tensor:
        return torch.nn.functional.cross_entropy((hidden @ table.T).float(), labels)

    learners = (hidden, table)
    steps = {"full": step(full, learners), "ours": step(ours, learners)}
    times = alternate(steps, device, rounds if cuda else min(rounds, 5), warm_up=1)
    candidates = len(join_candidates(labels, *draw_negatives(labels, ROWS, TRIES), ROWS).ids)
    limit, rate = copy_bandwidth(device), product_rate(device, dtype)
    records = []
    for name, columns in (("full", ROWS), ("ours", candidates)):
        operations = 6 * tokens * columns * width
        records.append(
            record(
                "sampled_softmax" if name == "ours" else "full cross-entropy",
                times[name],
                bytes_moved=(2 * columns + 2 * tokens) * width * hidden.itemsize,
                operations=operations,
                limit=limit,
                tokens=tokens,
                rows=ROWS,
                candidates=columns,
                width=width,
                type=str(dtype),
                share_of_product_rate=digits(operations / statistics.median(times[name]) / rate),
                peak_bytes=peak_above(steps[name], learners) if cuda else None,
            )
        )
    ratio = statistics.median(times["full"]) / statistics.median(times["ours"])
    name = f"sampled_softmax {device}, {tokens} tokens, {TRIES} tries: full cross-entropy against ours"
    return Section(ratios={name: digits(ratio)}, records=records)


def check(device: str) -> dict[str, float]:
    """The largest error of the Triton kernel at a small size, against the reference in float64."""
    generator = torch.Generator().manual_seed(0)
    hidden, table = (torch.randn(*shape, generator=generator) for shape in ((9, 17), (140, 17)))
    labels = torch.randint(140, (9,), generator=generator)
    negatives, log_inclusion = draw_negatives(labels, 140, 50, generator=generator)
    exact = [tensor.double().requires_grad_() for tensor in (hidden, table)]
    inputs = [tensor.to(device).requires_grad_() for tensor in (hidden, table)]
    others = [tensor.to(device) for tensor in (labels, negatives, log_inclusion)]
    found = sampled_softmax(*inputs, *others, impl="triton")
    wanted = sampled_softmax_reference(*exact, labels, negatives, log_inclusion)
    gradients = torch.autograd.grad(found, inputs)
    return {
        "sampled_softmax": largest_error(
            [tensor.cpu() for tensor in (found, *gradients)], [wanted, *torch.autograd.grad(wanted, exact)]
        )
    }
