"""``embedding_gradient`` and ``rowwise_adamw`` against a dense gradient and fused AdamW."""

from __future__ import annotations

import statistics

import torch

from eval.speed.kernel_harness import Section, alternate, copy_bandwidth, digits, record, zipf
from polycompress.kernels.embedding_gradient import embedding_gradient
from polycompress.kernels.rowwise_adamw import RowState, rowwise_adamw_

ROWS = 250_000
CUDA_TOKENS, CUDA_WIDTH = (16_384, 262_144, 524_288), 768
CPU_TOKENS, CPU_WIDTH = (2_048,), 384

_SPEED = "rows cuda, 16384 tokens: dense gradient and fused AdamW against ours"
_SHARE = "rows cuda, {} tokens: share of the copy bandwidth, sort apart"
WANTED = {
    _SPEED: ">= 5",
    **{_SHARE.format(tokens): ">= 0.6" for tokens in CUDA_TOKENS if tokens >= 262_144},
}


def measure(device: str, rounds: int) -> Section:
    """Time both at Zipf-distributed ids; without a GPU its ratios are None."""
    ratios: dict[str, float | None] = dict.fromkeys(WANTED)
    records = []
    limit = copy_bandwidth(device)
    width = CUDA_WIDTH if device == "cuda" else CPU_WIDTH
    for tokens in CUDA_TOKENS if device == "cuda" else CPU_TOKENS:
        ids = zipf(tokens, ROWS, device)
        upstream = torch.randn(tokens, width, device=device)
        medians, distinct, times = _compare(ids, upstream, device, rounds)
        if device == "cuda":
            if tokens == CUDA_TOKENS[0]:
                ratios[_SPEED] = digits(medians["dense"] / medians["ours"])
        else:
            name = f"rows cpu, {tokens} tokens: dense gradient and fused AdamW against ours"
            ratios[name] = digits(medians["dense"] / medians["ours"])
        gradient_bytes = tokens * (4 * width + 8) + 4 * distinct * width
        update_bytes = 7 * 4 * distinct * width
        shape = {"rows": ROWS, "tokens": tokens, "distinct": distinct, "width": width, "limit": limit}
        records += [
            record(
                "embedding_gradient after the sort" if device == "cuda" else "embedding_gradient",
                times["gradient"],
                bytes_moved=gradient_bytes,
                operations=tokens * width,
                **shape,
            ),
            record(
                "rowwise_adamw",
                times["update"],
                bytes_moved=update_bytes,
                operations=14 * distinct * width,
                **shape,
            ),
            record(
                "both",
                times["ours"],
                bytes_moved=gradient_bytes + update_bytes,
                operations=(tokens + 14 * distinct) * width,
                **shape,
            ),
            record(
                "dense gradient and fused AdamW",
                times["dense"],
                bytes_moved=4 * (tokens * width + 9 * ROWS * width),
                operations=tokens * width + 14 * ROWS * width,
                **shape,
            ),
            record("sort", times["sort"], bytes_moved=2 * 16 * tokens, operations=0, **shape),
        ]
        if _SHARE.format(tokens) in WANTED and device == "cuda":
            spent = medians["gradient"] + medians["update"]
            ratios[_SHARE.format(tokens)] = digits((gradient_bytes + update_bytes) / spent / limit)
    return Section(ratios=ratios, records=records)


def check(device: str) -> dict[str, float]:
    """The largest error of the Triton kernels at a small size, against the references in float64."""
    ids = zipf(400, 60, device)
    upstream = torch.randn(400, 40, device=device, generator=torch.Generator(device).manual_seed(0))
    rows, sums = embedding_gradient(ids, upstream, impl="triton")
    same_rows, wanted = embedding_gradient(ids, upstream.double(), impl="reference")
    assert torch.equal(rows, same_rows)
    table, exact = torch.ones(60, 40, device=device), torch.ones(60, 40, device=device).double()
    for each, impl in ((table, "triton"), (exact, "reference")):
        state = RowState.zeros(each)
        for step in range(3):
            rowwise_adamw_(each, rows, wanted / (1 + step), state, lr=0.1, decay_sum=-0.01 * step, impl=impl)
    return {
        "embedding_gradient": float((sums - wanted).abs().max() / wanted.abs().max()),
        "rowwise_adamw": float((table - exact).abs().max() / exact.abs().max()),
    }


def _compare(
    ids: torch.Tensor, upstream: torch.Tensor, device: str, rounds: int
) -> tuple[dict[str, float], int, dict[str, list[float]]]:
    """Median seconds and all seconds of both ways and of our parts, and the number of distinct rows."""
    width = upstream.shape[1]
    table = torch.nn.Parameter(torch.zeros(ROWS, width, device=device))
    dense = torch.optim.AdamW([table], fused=True)
    ours = torch.zeros(ROWS, width, device=device)
    state = RowState.zeros(ours)
    rows, sums = embedding_gradient(ids, upstream)
    ordered, order = torch.sort(ids, stable=True)

    def dense_step() -> None:
        table.grad = torch.ops.aten.embedding_dense_backward(upstream, ids, ROWS, -1, False)
        dense.step()
        table.grad = None

    def our_step() -> None:
        rowwise_adamw_(ours, *embedding_gradient(ids, upstream), state, lr=1e-3)

    def gradient() -> None:
        if device == "cuda":
            from polycompress.kernels.embedding_gradient.kernel import segment_sums

            segment_sums(ordered, order, upstream)
        else:
            embedding_gradient(ids, upstream)

    times = alternate(
        {
            "dense": dense_step,
            "ours": our_step,
            "gradient": gradient,
            "update": lambda: rowwise_adamw_(ours, rows, sums, state, lr=1e-3),
            "sort": lambda: torch.sort(ids, stable=True),
        },
        device,
        rounds,
    )
    return {name: statistics.median(values) for name, values in times.items()}, rows.numel(), times
