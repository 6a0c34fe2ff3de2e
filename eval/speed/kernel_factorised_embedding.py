"""``factorised_embedding`` against a lookup of coordinates followed by a product, with its dense gradient."""

from __future__ import annotations

import statistics

import torch

from eval.speed.kernel_harness import Section, alternate, copy_bandwidth, digits, record, zipf
from eval.speed.kernel_products import largest_error, peak_above, product_rate
from polycompress.kernels.factorised_embedding import factorised_embedding, factorised_embedding_reference

ROWS, DEPTH = 250_000, 200
CPU_TOKENS, CPU_WIDTH, CPU_TYPE = 2_048, 384, torch.float32
CUDA_TOKENS, CUDA_WIDTH, CUDA_TYPE = 65_536, 768, torch.bfloat16

WANTED: dict[str, str] = {}


def measure(device: str, rounds: int) -> Section:
    """Time forward, and forward with backward, of both."""
    cuda = device == "cuda"
    tokens, width, dtype = (CUDA_TOKENS, CUDA_WIDTH, CUDA_TYPE) if cuda else (CPU_TOKENS, CPU_WIDTH, CPU_TYPE)
    torch.manual_seed(0)
    ids = zipf(tokens, ROWS, device)
    coordinates = torch.randn(ROWS, DEPTH, device=device).to(dtype).requires_grad_()
    primitives = torch.randn(DEPTH, width, device=device).to(dtype).requires_grad_()
    upstream = torch.randn(tokens, width, device=device).to(dtype)
    learners = (coordinates, primitives)

    def plain() -> torch.Tensor:
        return torch.nn.functional.embedding(ids, coordinates) @ primitives

    def ours() -> torch.Tensor:
        return factorised_embedding(ids, coordinates, primitives)

    steps = {
        "plain": lambda: torch.autograd.grad(plain(), learners, upstream),
        "ours": lambda: torch.autograd.grad(ours(), learners, upstream),
        "plain forward": plain,
        "ours forward": ours,
    }
    times = alternate(steps, device, rounds)
    distinct = int(ids.unique().numel())
    limit, rate = copy_bandwidth(device), product_rate(device, dtype)
    names = {"plain": "lookup and product", "ours": "factorised_embedding"}
    records = []
    for name, spent in times.items():
        way, forward = name.split()[0], name.endswith("forward")
        read = coordinates.itemsize * (tokens * (DEPTH + width) + DEPTH * width)
        back = coordinates.itemsize * (tokens * width + DEPTH * (distinct + 2 * width)) + 4 * distinct * DEPTH
        operations = 2 * tokens * DEPTH * width + (0 if forward else 4 * distinct * DEPTH * width)
        records.append(
            record(
                names[way] + (", forward" if forward else ", both ways"),
                spent,
                bytes_moved=read if forward else read + back,
                operations=operations,
                limit=limit,
                tokens=tokens,
                distinct=distinct,
                rows=ROWS,
                depth=DEPTH,
                width=width,
                type=str(dtype),
                share_of_product_rate=digits(operations / statistics.median(spent) / rate),
                peak_bytes=peak_above(steps[name], ()) if cuda else None,
            )
        )
    ratio = statistics.median(times["plain"]) / statistics.median(times["ours"])
    name = f"factorised_embedding {device}, {tokens} tokens: lookup and product against ours"
    return Section(ratios={name: digits(ratio)}, records=records)


def check(device: str) -> dict[str, float]:
    """The largest error of the Triton kernel at a small size, against the reference in float64."""
    generator = torch.Generator().manual_seed(0)
    coordinates, primitives, upstream = (
        torch.randn(*shape, generator=generator) for shape in ((60, 37), (37, 130), (70, 130))
    )
    ids = zipf(70, 60, "cpu")
    exact = [tensor.double().requires_grad_() for tensor in (coordinates, primitives)]
    inputs = [tensor.to(device).requires_grad_() for tensor in (coordinates, primitives)]
    found = factorised_embedding(ids.to(device), *inputs, impl="triton")
    wanted = factorised_embedding_reference(ids, *exact)
    gradients = torch.autograd.grad(found, inputs, upstream.to(device))
    rights = torch.autograd.grad(wanted, exact, upstream.double())
    return {
        "factorised_embedding": largest_error(
            [tensor.cpu() for tensor in (found, *gradients)], [wanted, *rights]
        )
    }
