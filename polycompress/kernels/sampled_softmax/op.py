"""Sampled softmax: checks, tiles over tokens, and the choice of implementation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from polycompress.errors import InputError
from polycompress.kernels.choosing import Impl, choose_impl
from polycompress.kernels.prepared import sparse_rows, wants_gradient, with_gradients
from polycompress.kernels.products import (
    logits_into,
    new_tile,
    plus_product,
    product,
    sum_dtype,
    tile_dtype,
    working_dtype,
)
from polycompress.kernels.sampled_softmax.candidates import Candidates, join_candidates
from polycompress.kernels.sampled_softmax.rows import softmax_rows

_TILE_ELEMENTS = {"cpu": 1 << 23, "cuda": 1 << 27}
Rows = Callable[[Tensor, Tensor, Tensor, "Tensor | None"], Tensor]


def sampled_softmax(
    hidden: Tensor,
    table: Tensor,
    labels: Tensor,
    negatives: Tensor,
    log_inclusion: Tensor,
    *,
    bias: Tensor | None = None,
    ignore_index: int = -100,
    impl: Impl = "auto",
) -> Tensor:
    r"""Cross-entropy over a batch's own labels and shared negatives, so that a tied output head keeps sparse gradients.

    With O the set of labels in the batch and S the negatives outside it (repeated ones and those in O are dropped),

        z_j = h . w_j + b_j + c_j,    c_j = 0 for j in O,    c_j = -log(pi_j) for j in S,
        loss = mean over positions of  log sum_{j in O or S} exp(z_j) - z_label.

    The sum estimates the full partition function without bias, if ``log_inclusion`` holds the true probabilities given
    O. It is exact (the full cross-entropy) when O and S make up the whole vocabulary with corrections 0:
    ``join_candidates(...).exact`` says so, and ``draw_negatives`` with enough tries brings it about. Logits and their
    gradient are made in tiles of tokens; the gradients are computed together with the loss.

    Args:
        hidden: [T, d] float.
        table: [V, d] float; its gradient is a coalesced sparse tensor of the candidates' rows.
        labels: [T] int32 or int64: ids, or ``ignore_index``.
        negatives: [M] int32 or int64, from ``draw_negatives`` or elsewhere.
        log_inclusion: [M], log of the probability that each was included, at most 0.
        bias: [V] or None; its gradient is dense.
        ignore_index: Label of positions that do not count.
        impl: Which implementation; see ``polycompress.kernels.choosing``.

    Returns:
        Scalar, float32 (float64 for float64), mean over positions that count; 0 with zero gradients if none does.

    Raises:
        InputError: Shapes do not fit, an id is outside the table, or a probability is above 1.

    Reference:
        Bengio and Senecal 2008, "Adaptive importance sampling to accelerate training of a neural probabilistic
        language model"; the inclusion probabilities as in Horvitz and Thompson 1952.
    """
    _check(hidden, table, labels, negatives, log_inclusion, bias)
    tensors = (hidden, table, labels, negatives, log_inclusion, *(() if bias is None else (bias,)))
    chosen = choose_impl(impl, "sampled_softmax", *tensors)
    wanted = (wants_gradient(hidden), wants_gradient(table), wants_gradient(bias))
    dtype = working_dtype(hidden, table)
    with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
        kept = (labels != ignore_index).nonzero().squeeze(1)
        candidates = join_candidates(labels[kept], negatives, log_inclusion, len(table))
        loss, slopes, rows, bias_slopes = _forward(
            hidden.index_select(0, kept).to(dtype), table, bias, candidates, wanted, chosen
        )
        by_hidden = by_table = by_bias = None
        if slopes is not None:
            by_hidden = slopes.new_zeros(hidden.shape).index_copy_(0, kept, slopes)
        if rows is not None:
            by_table = sparse_rows(candidates.ids, rows, tuple(table.shape))
        if bias is not None and bias_slopes is not None:
            by_bias = bias_slopes.new_zeros(bias.shape).index_copy_(0, candidates.ids, bias_slopes)
    pairs = [(hidden, by_hidden), (table, by_table)]
    return with_gradients(loss, pairs if bias is None else [*pairs, (bias, by_bias)])


def _forward(
    hidden: Tensor,
    table: Tensor,
    bias: Tensor | None,
    candidates: Candidates,
    wanted: tuple[bool, bool, bool],
    chosen: str,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Loss, and its gradients by hidden [N, d], by the candidates' rows [C, d] and by their biases [C].

    Products are made in hidden's dtype.
    """
    dtype = hidden.dtype
    sums = sum_dtype(dtype)
    rows = table.index_select(0, candidates.ids).to(dtype)
    correction = candidates.correction.to(sums)
    if bias is not None:
        correction = correction + bias.index_select(0, candidates.ids).to(sums)
    (count, _), columns = hidden.shape, len(rows)
    want_hidden, want_table, want_bias = wanted
    loss = correction.new_zeros(())
    by_hidden = torch.empty_like(hidden, dtype=sums) if want_hidden else None
    by_rows = None
    by_bias = torch.zeros_like(correction) if want_bias else None
    tokens = max(1, _TILE_ELEMENTS.get(hidden.device.type, 1 << 23) // max(1, columns))
    logits_dtype = tile_dtype(dtype, hidden.device)
    size, device, aligned = (min(tokens, count), columns), hidden.device, chosen == "triton"
    buffer = slopes_buffer = new_tile(*size, logits_dtype, device, aligned=aligned)
    if logits_dtype is not dtype:
        slopes_buffer = new_tile(*size, dtype, device, aligned=aligned)
    tile_rows = _rows_function(chosen, sums)
    for first in range(0, count, tokens):
        part = slice(first, min(first + tokens, count))
        tile, slopes = buffer[: part.stop - first], slopes_buffer[: part.stop - first]
        logits_into(tile, hidden[part], rows)
        losses = tile_rows(tile, correction, candidates.positions[part], slopes if any(wanted) else None)
        loss += losses.sum()
        if by_hidden is not None:
            by_hidden[part] = product(slopes, rows)
        if want_table:
            by_rows = plus_product(by_rows, slopes, hidden[part])
        if by_bias is not None:
            by_bias += slopes.sum(0, dtype=sums)
    if want_table and by_rows is None:
        by_rows = torch.zeros_like(rows, dtype=sums)
    scale = 1.0 / max(1, count)
    for gradient in (by_hidden, by_rows, by_bias):
        if gradient is not None:
            gradient.mul_(scale)
    return loss * scale, by_hidden, by_rows, by_bias


def _rows_function(chosen: str, sums: torch.dtype) -> Rows:
    if chosen == "triton" and sums is torch.float32:
        from polycompress.kernels.sampled_softmax.kernel import softmax_rows_triton

        return softmax_rows_triton
    return lambda logits, correction, targets, slopes: softmax_rows(logits, correction, targets, slopes, sums)


def _check(
    hidden: Tensor,
    table: Tensor,
    labels: Tensor,
    negatives: Tensor,
    log_inclusion: Tensor,
    bias: Tensor | None,
) -> None:
    if hidden.ndim != 2 or table.ndim != 2 or hidden.shape[1] != table.shape[1]:
        raise InputError(
            f"sampled_softmax: hidden {tuple(hidden.shape)} and table {tuple(table.shape)} have to be [T, d] and [V, d]"
        )
    if labels.shape != hidden.shape[:1]:
        raise InputError(
            f"sampled_softmax: labels {tuple(labels.shape)} have to be [T] with T = {len(hidden)}, as hidden"
        )
    if negatives.ndim != 1 or negatives.shape != log_inclusion.shape:
        raise InputError(
            f"sampled_softmax: negatives {tuple(negatives.shape)} and log_inclusion {tuple(log_inclusion.shape)} "
            f"have to be two vectors of one length"
        )
    if bias is not None and bias.shape != table.shape[:1]:
        raise InputError(
            f"sampled_softmax: bias {tuple(bias.shape)} has to be [V] with V = {len(table)}, as table"
        )
