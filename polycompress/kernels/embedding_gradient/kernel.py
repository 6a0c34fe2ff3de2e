"""Triton: sums of runs of equal ids, long runs cut into chunks.

With ``order`` the stable sort of ids, row r owns the run order[b_r : e_r] and

    sums[r] = sum over i in [b_r, e_r) of upstream[order[i]].

Frequencies are Zipf's: most runs hold one position, a few hold thousands. A run is therefore cut into chunks of at most
``CHUNK`` positions, one program each. A run of one chunk goes straight to ``sums``; the chunks of a longer run go to
``parts``, which a second kernel adds in order. The tree of additions depends on the ids only, so two runs are equal bit
for bit. No atomics.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

CHUNK = 64
_POSITIONS = 8


@triton.jit  # type: ignore[untyped-decorator]
def _embedding_gradient_chunk_kernel(
    upstream: tl.tensor,
    order: tl.tensor,
    begins: tl.tensor,
    targets: tl.tensor,
    sums: tl.tensor,
    parts: tl.tensor,
    width: tl.tensor,
    stride_n: tl.tensor,
    stride_d: tl.tensor,
    POSITIONS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    chunk = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < width
    columns = columns.to(tl.int64)
    begin = tl.load(begins + chunk)
    end = tl.load(begins + chunk + 1)
    total = tl.zeros((COLUMNS,), dtype=tl.float32)
    for first in range(begin, end, POSITIONS):
        places = first + tl.arange(0, POSITIONS)
        here = places < end
        positions = tl.load(order + places, mask=here, other=0)  # (POSITIONS,) int64
        values = tl.load(
            upstream + positions[:, None] * stride_n + columns[None, :] * stride_d,
            mask=here[:, None] & inside[None, :],
            other=0.0,
        )
        total += tl.sum(values.to(tl.float32), axis=0)
    target = tl.load(targets + chunk)
    if target >= 0:
        tl.store(sums + target * width + columns, total, mask=inside)
    else:
        tl.store(parts + (-target - 1) * width + columns, total, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _embedding_gradient_join_kernel(
    parts: tl.tensor,
    targets: tl.tensor,
    run_begins: tl.tensor,
    sums: tl.tensor,
    width: tl.tensor,
    CHUNKS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    begin = tl.load(run_begins + row)
    count = tl.load(run_begins + row + 1) - begin
    if count > 1:
        columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
        inside = columns < width
        columns = columns.to(tl.int64)
        slot = -tl.load(targets + begin) - 1
        total = tl.zeros((COLUMNS,), dtype=tl.float32)
        for first in range(0, count, CHUNKS):
            places = first + tl.arange(0, CHUNKS)
            here = places < count
            values = tl.load(
                parts + (slot + places)[:, None] * width + columns[None, :],
                mask=here[:, None] & inside[None, :],
                other=0.0,
            )
            total += tl.sum(values, axis=0)
        tl.store(sums + row * width + columns, total, mask=inside)


def embedding_gradient_triton(ids: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct rows and their summed gradients; see ``embedding_gradient``.

    Args:
        ids: (N,) int32 or int64, N > 0.
        upstream: (N, d) fp32, bf16 or fp16, of any strides.

    Returns:
        (R,) int64 increasing, and (R, d) float32.
    """
    ordered, order = torch.sort(ids, stable=True)
    return segment_sums(ordered, order, upstream)


def segment_sums(ordered: Tensor, order: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor]:
    """What follows the sort (apart, so that the two are timed apart).

    Args:
        ordered: (N,) ids in increasing order, N > 0.
        order: (N,) int64, their positions in ``upstream``.
        upstream: (N, d).

    Returns:
        (R,) int64 increasing, and (R, d) float32.
    """
    width = upstream.shape[1]
    begins, targets, run_begins, long_chunks = _cut(ordered)
    rows = ordered[begins[run_begins[:-1]]].long()
    sums = torch.empty(rows.numel(), width, dtype=torch.float32, device=upstream.device)
    parts = torch.empty(long_chunks, width, dtype=torch.float32, device=upstream.device)
    columns = min(triton.next_power_of_2(width), 256)
    blocks = triton.cdiv(width, columns)
    _embedding_gradient_chunk_kernel[(targets.numel(), blocks)](
        upstream,
        order,
        begins,
        targets,
        sums,
        parts,
        width,
        upstream.stride(0),
        upstream.stride(1),
        POSITIONS=_POSITIONS,
        COLUMNS=columns,
    )
    if targets.numel() > rows.numel():
        _embedding_gradient_join_kernel[(rows.numel(), blocks)](
            parts, targets, run_begins, sums, width, CHUNKS=_POSITIONS, COLUMNS=columns
        )
    return rows, sums


def _cut(ordered: Tensor) -> tuple[Tensor, Tensor, Tensor, int]:
    """Runs of equal ids, cut into chunks.

    Args:
        ordered: (N,) ids in increasing order.

    Returns:
        Where each chunk begins, (K + 1,) with N at the end; where its sum goes, (K,): row r of the sums as r, slot s of
        the parts as -s - 1; the first chunk of each run, (R + 1,) with K at the end; and an upper bound of the slots.
    """
    amount = ordered.numel()
    places = torch.arange(amount, device=ordered.device)
    opens = torch.ones(amount, dtype=torch.bool, device=ordered.device)  # opens a run
    torch.ne(ordered[1:], ordered[:-1], out=opens[1:])
    run_start = torch.where(opens, places, 0).cummax(0).values
    starts = ((places - run_start) % CHUNK == 0).nonzero().squeeze(1)  # (K,)
    opens = opens[starts]
    firsts = opens.nonzero().squeeze(1)  # (R,)
    begins = torch.cat([starts, starts.new_full((1,), amount)])
    run_begins = torch.cat([firsts, firsts.new_full((1,), starts.numel())])
    run = opens.cumsum(0) - 1  # (K,)
    alone = (run_begins[1:] - run_begins[:-1])[run] == 1
    slot = (~alone).cumsum(0) - 1
    targets = torch.where(alone, run, -slot - 1)
    # A run of more than CHUNK positions has at most twice as many chunks as whole ones fit into it.
    return begins, targets, run_begins, min(starts.numel(), 2 * amount // CHUNK)
