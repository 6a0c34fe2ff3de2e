"""Gather and product in one kernel: a program takes 64 ids and 128 columns, and reads the coordinates row by row.

    out[n, j] = sum_c F[ids[n], c] P[c, j],    accumulated in float32.

F[ids] exists only as [64, 32] pieces in registers. The backward pass has no kernel of its own: with S the upstream
gradient summed by id (``embedding_gradient``), it is two products over the distinct rows, S P^T and F[rows]^T S, which
cuBLAS does best.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from polycompress.kernels.choosing import interpreting

_IDS, _COLUMNS, _DEPTH = 64, 128, 32
_DOT = {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}


@triton.jit  # type: ignore[untyped-decorator]
def _factorised_embedding_fwd_kernel(
    ids: tl.tensor,
    coordinates: tl.tensor,
    primitives: tl.tensor,
    result: tl.tensor,
    amount: tl.tensor,
    vocabulary: tl.tensor,
    depth: tl.tensor,
    width: tl.tensor,
    coordinates_stride_v: tl.tensor,
    coordinates_stride_k: tl.tensor,
    primitives_stride_k: tl.tensor,
    primitives_stride_d: tl.tensor,
    DOT: tl.constexpr,
    IDS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
) -> None:
    places = tl.program_id(0).to(tl.int64) * IDS + tl.arange(0, IDS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    here = places < amount
    inside = columns < width
    rows = tl.load(ids + places, mask=here, other=0).to(tl.int64)
    valid = (rows >= 0) & (rows < vocabulary)
    left = coordinates + tl.where(valid, rows, 0)[:, None] * coordinates_stride_v
    right = primitives + columns[None, :].to(tl.int64) * primitives_stride_d
    total = tl.zeros([IDS, COLUMNS], tl.float32)
    for first in range(0, depth, DEPTH):
        steps = first + tl.arange(0, DEPTH)
        known = steps < depth
        steps = steps.to(tl.int64)
        f = tl.load(
            left + steps[None, :] * coordinates_stride_k, mask=here[:, None] & known[None, :], other=0.0
        )
        p = tl.load(
            right + steps[:, None] * primitives_stride_k, mask=known[:, None] & inside[None, :], other=0.0
        )
        # float32 first: the interpreter cannot read bfloat16 otherwise, and the compiler drops the round trip
        f = f.to(tl.float32).to(DOT)
        p = p.to(tl.float32).to(DOT)
        total = tl.dot(f, p, acc=total, input_precision="ieee")
    total = tl.where(valid[:, None], total, float("nan"))
    target = result + places[:, None] * width + columns[None, :]
    tl.store(target, total.to(result.dtype.element_ty), mask=here[:, None] & inside[None, :])


def lookup_triton(ids: Tensor, coordinates: Tensor, primitives: Tensor, dtype: torch.dtype) -> Tensor:
    """Launch the kernel; arguments as in ``reference.lookup``. An id outside the table gives a row of NaN."""
    amount, width = len(ids), primitives.shape[1]
    result = torch.empty((amount, width), dtype=dtype, device=ids.device)
    _factorised_embedding_fwd_kernel[(triton.cdiv(amount, _IDS), triton.cdiv(width, _COLUMNS))](
        ids,
        coordinates,
        primitives,
        result,
        amount,
        coordinates.shape[0],
        coordinates.shape[1],
        width,
        *coordinates.stride(),
        *primitives.stride(),
        DOT=tl.float32 if interpreting() else _DOT[dtype],
        IDS=_IDS,
        COLUMNS=_COLUMNS,
        DEPTH=_DEPTH,
        num_warps=4,
    )
    return result
