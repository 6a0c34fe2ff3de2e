"""Cross-entropy of the rows of one tile of logits, and its gradient, for CUDA: one program a row, two readings.

With z_j = logits_j + correction_j in float32, the first reading finds lse = log sum_j exp(z_j) (each lane keeps the
highest value it saw and the sum relative to it; the lanes meet once), the second writes exp(z_j - lse) - [j = target].
The correction is added here and not in the product: rounded to half precision, -log(pi) would bias its candidate.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor


@triton.jit  # type: ignore[untyped-decorator]
def _sampled_softmax_rows_kernel(
    logits: tl.tensor,
    correction: tl.tensor,
    targets: tl.tensor,
    losses: tl.tensor,
    gradient: tl.tensor,
    columns: tl.tensor,
    logits_stride: tl.tensor,
    gradient_stride: tl.tensor,
    WANT_GRADIENT: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    logits += row * logits_stride
    gradient += row * gradient_stride
    target = tl.load(targets + row)
    lanes = tl.arange(0, BLOCK)
    highest = tl.full([BLOCK], -1.0e30, tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    for first in range(0, columns, BLOCK):
        index = first + lanes
        inside = index < columns
        z = tl.load(logits + index, mask=inside, other=0.0).to(tl.float32)
        z += tl.load(correction + index, mask=inside, other=float("-inf"))
        factor = tl.exp(-tl.abs(z - highest))
        total = tl.where(z > highest, total * factor + 1.0, total + factor)
        highest = tl.maximum(highest, z)
    top = tl.max(highest, axis=0)
    lse = top + tl.log(tl.sum(total * tl.exp(highest - top), axis=0))
    chosen = tl.load(logits + target).to(tl.float32) + tl.load(correction + target)
    tl.store(losses + row, lse - chosen)
    if WANT_GRADIENT:
        tl.debug_barrier()  # the target's logit has been read before it is overwritten
        for first in range(0, columns, BLOCK):
            index = first + lanes
            inside = index < columns
            z = tl.load(logits + index, mask=inside, other=0.0).to(tl.float32)
            z += tl.load(correction + index, mask=inside, other=float("-inf"))
            slope = tl.exp(z - lse) - tl.where(index == target, 1.0, 0.0)
            tl.store(gradient + index, slope.to(gradient.dtype.element_ty), mask=inside)


def softmax_rows_triton(
    logits: Tensor, correction: Tensor, targets: Tensor, gradient: Tensor | None
) -> Tensor:
    """Launch the kernel for a tile; arguments as in ``rows.softmax_rows``, sums in float32."""
    losses = correction.new_empty(len(logits))
    written = logits if gradient is None else gradient
    block = min(2048, triton.next_power_of_2(logits.shape[1]))
    _sampled_softmax_rows_kernel[(len(logits),)](
        logits,
        correction,
        targets,
        losses,
        written,
        logits.shape[1],
        logits.stride(0),
        written.stride(0),
        WANT_GRADIENT=gradient is not None,
        BLOCK=block,
        num_warps=8,
    )
    return losses
