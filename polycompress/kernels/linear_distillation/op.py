"""Linear distillation: checks, tiles over tokens, and the choice of implementation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from polycompress.errors import InputError
from polycompress.kernels.choosing import Impl, choose_impl
from polycompress.kernels.linear_distillation.objective import Divergence, Objective
from polycompress.kernels.linear_distillation.rows import distillation_rows
from polycompress.kernels.prepared import wants_gradient, with_gradients
from polycompress.kernels.products import (
    logits_into,
    new_tile,
    plus_product,
    product,
    sum_dtype,
    tile_dtype,
    working_dtype,
)

_TILE_BYTES = {"cpu": 1 << 28, "cuda": 3 << 29}
_FEWEST_TILES = 2
Rows = Callable[[Tensor, Tensor, "Tensor | None", "Tensor | None"], Tensor]


def linear_distillation(
    student_hidden: Tensor,
    student_table: Tensor,
    teacher_hidden: Tensor,
    teacher_table: Tensor,
    labels: Tensor | None = None,
    *,
    divergence: Divergence = "forward",
    beta: float = 0.5,
    temperature: float = 1.0,
    hard_weight: float = 0.0,
    ignore_index: int = -100,
    student_bias: Tensor | None = None,
    teacher_bias: Tensor | None = None,
    token_tile: int | None = None,
    impl: Impl = "auto",
) -> Tensor:
    """Divergence between the vocabulary distributions of a teacher and a student, straight from their hidden states.

        loss = (1 - hard_weight) T^2 D(p, q) + hard_weight CE(labels, softmax(s)),    mean over positions that count

    with p, q the teacher's and the student's softmax at temperature T and the cross-entropy at temperature 1; D is
    KL(p || q) (forward), KL(q || p) (reverse) or beta KL(p || m) + (1 - beta) KL(q || m) with m = beta p + (1 - beta) q
    (jensen-shannon). ``objective.py`` has the gradients.

    Tokens are worked on in tiles, at most half of them at a time: two [t, V] tiles of logits are made, one reading
    gives the sums, another writes the gradient over the student's tile, and two products carry it on to hidden states
    and table. Nothing of size [tokens, V] exists and no logit is computed twice; backward only multiplies by the
    upstream gradient. Ignored positions cost nothing. The teacher never gets a gradient; a student part that does not
    require one (a frozen table) is not given one, and without any, no gradient is computed.

    Args:
        student_hidden: [T, dS] float.
        student_table: [V, dS] float; its gradient is dense, since every row takes part.
        teacher_hidden: [T, dT] float; dT may differ from dS.
        teacher_table: [V, dT] float.
        labels: [T] int32 or int64: ids, or ``ignore_index`` for positions that do not count, in either part of the
            loss. None: every position counts, and the hard weight has to be 0.
        divergence: Which D.
        beta: Between 0 and 1; jensen-shannon only.
        temperature: T, above 0.
        hard_weight: Share of the labels' cross-entropy, from 0 to 1.
        ignore_index: Label of positions that do not count.
        student_bias: [V] or None.
        teacher_bias: [V] or None.
        token_tile: Tokens in a tile; None: as many as fit 256 MiB (CUDA: 1.5 GiB), and at most half of them.
        impl: Which implementation; see ``polycompress.kernels.choosing``. The plain torch one works in tiles too.

    Returns:
        Scalar, float32 (float64 for float64); 0 with zero gradients if no position counts.

    Raises:
        InputError: Shapes or values do not fit, or a label is outside the table.

    Reference:
        Hinton et al. 2015, "Distilling the knowledge in a neural network"; the generalised Jensen-Shannon divergence
        as in Agarwal et al. 2024, "On-policy distillation of language models". Gradients along with the loss: Hsu et
        al. 2024, "Liger Kernel".
    """
    objective = Objective(divergence=divergence, beta=beta, temperature=temperature, hard_weight=hard_weight)
    student = _Head(student_hidden, student_table, student_bias)
    teacher = _Head(teacher_hidden, teacher_table, teacher_bias)
    _check(student, teacher, labels, objective, token_tile)
    present = [*student.tensors(), *teacher.tensors(), *(() if labels is None else (labels,))]
    chosen = choose_impl(impl, "linear_distillation", *present)
    wanted = [wants_gradient(tensor) for tensor in (student_hidden, student_table, student_bias)]
    dtypes = [working_dtype(head.hidden, head.table) for head in (student, teacher)]
    with torch.no_grad(), torch.autocast(student_hidden.device.type, enabled=False):
        kept = None if labels is None else (labels != ignore_index).nonzero().squeeze(1)
        if labels is not None and kept is not None:
            labels = labels.index_select(0, kept).to(torch.int64)
            _check_labels(labels, kept, len(student_table))
            student, teacher = student.at(kept), teacher.at(kept)
        student, teacher = student.ready(dtypes[0]), teacher.ready(dtypes[1])
        loss, by_hidden, by_table, by_bias = _forward(
            student, teacher, labels, objective, token_tile, wanted, chosen
        )
        if by_hidden is not None and kept is not None:
            by_hidden = by_hidden.new_zeros(student_hidden.shape).index_copy_(0, kept, by_hidden)
    pairs = [(student_hidden, by_hidden), (student_table, by_table)]
    return with_gradients(loss, pairs if student_bias is None else [*pairs, (student_bias, by_bias)])


@dataclass(frozen=True, slots=True, eq=False)
class _Head:
    """Hidden states and the output layer they go through."""

    hidden: Tensor
    table: Tensor
    bias: Tensor | None

    def tensors(self) -> list[Tensor]:
        return [self.hidden, self.table, *(() if self.bias is None else (self.bias,))]

    def at(self, positions: Tensor) -> _Head:
        if len(positions) == len(self.hidden):
            return self
        return _Head(self.hidden.index_select(0, positions), self.table, self.bias)

    def ready(self, dtype: torch.dtype) -> _Head:
        """The same in the dtype of the products, the bias in the tile's."""
        bias = None if self.bias is None else self.bias.to(tile_dtype(dtype, self.hidden.device))
        return _Head(self.hidden.to(dtype), self.table.to(dtype), bias)


def _forward(
    student: _Head,
    teacher: _Head,
    labels: Tensor | None,
    objective: Objective,
    token_tile: int | None,
    wanted: list[bool],
    chosen: str,
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Loss, and its gradients by the student's hidden states, table and bias, where wanted."""
    hidden, table = student.hidden, student.table
    sums = sum_dtype(hidden.dtype)
    want_hidden, want_table, want_bias = wanted
    loss = torch.zeros((), dtype=sums, device=hidden.device)
    by_hidden = torch.empty_like(hidden, dtype=sums) if want_hidden else None
    by_table = None
    by_bias = loss.new_zeros(len(table)) if want_bias else None
    count = len(hidden)
    tokens = token_tile or _tokens_at_once(count, student, teacher)
    types = [tile_dtype(head.hidden.dtype, hidden.device) for head in (student, teacher)]
    if any(wanted) and types[0] is not hidden.dtype:
        types.append(hidden.dtype)  # the gradient gets a tile of its own, in the dtype of the products
    size, aligned = (min(tokens, count), len(table)), chosen == "triton"
    tiles = [new_tile(*size, dtype, hidden.device, aligned=aligned) for dtype in types]
    student_tile, teacher_tile, slopes_tile = tiles[0], tiles[1], tiles[2 if len(tiles) == 3 else 0]
    excluded = any(head.bias is not None and bool(head.bias.isneginf().any()) for head in (student, teacher))
    tile_rows = _rows_function(chosen, objective, sums, excluded)
    for first in range(0, count, tokens):
        part = slice(first, min(first + tokens, count))
        amount = part.stop - first
        logits_into(student_tile[:amount], hidden[part], table, student.bias)
        logits_into(teacher_tile[:amount], teacher.hidden[part], teacher.table, teacher.bias)
        slopes = slopes_tile[:amount] if any(wanted) else None
        known = None if labels is None else labels[part]
        loss += tile_rows(student_tile[:amount], teacher_tile[:amount], known, slopes).sum()
        if slopes is None:
            continue
        if by_hidden is not None:
            by_hidden[part] = product(slopes, table)
        if want_table:
            by_table = plus_product(by_table, slopes, hidden[part])
        if by_bias is not None:
            by_bias += slopes.sum(0, dtype=sums)
    if want_table and by_table is None:
        by_table = torch.zeros_like(table, dtype=sums)
    scale = 1.0 / max(1, count)
    for gradient in (by_hidden, by_table, by_bias):
        if gradient is not None:
            gradient.mul_(scale)
    return loss * scale, by_hidden, by_table, by_bias


def _tokens_at_once(count: int, student: _Head, teacher: _Head) -> int:
    """Tokens whose tiles fit the budget, in whole blocks of 64 where that is many, and half of all at most."""
    on_card = student.hidden.device.type == "cuda"
    sizes = [tile_dtype(head.hidden.dtype, head.hidden.device).itemsize for head in (student, teacher)]
    if on_card and sizes[0] != student.hidden.dtype.itemsize:
        sizes.append(student.hidden.dtype.itemsize)  # the gradient's own tile
    budget = _TILE_BYTES["cuda" if on_card else "cpu"]
    tokens = min(budget // max(1, sum(sizes) * len(student.table)), -(-count // _FEWEST_TILES))
    return int(tokens - tokens % 64 if tokens > 64 else max(1, tokens))


def _rows_function(chosen: str, objective: Objective, sums: torch.dtype, excluded: bool) -> Rows:
    if chosen == "triton" and sums is torch.float32:
        from polycompress.kernels.linear_distillation.kernel import distillation_rows_triton

        return lambda student, teacher, labels, slopes: distillation_rows_triton(
            student, teacher, labels, slopes, objective
        )
    return lambda student, teacher, labels, slopes: distillation_rows(
        student, teacher, labels, slopes, objective, sums, excluded
    )


def _check(
    student: _Head, teacher: _Head, labels: Tensor | None, objective: Objective, token_tile: int | None
) -> None:
    faults = []
    for name, head in (("student", student), ("teacher", teacher)):
        if head.hidden.ndim != 2 or head.table.ndim != 2 or head.hidden.shape[1] != head.table.shape[1]:
            faults.append(
                f"{name}_hidden {tuple(head.hidden.shape)} and {name}_table {tuple(head.table.shape)} "
                f"have to be [T, d] and [V, d]"
            )
        if head.bias is not None and head.bias.shape != head.table.shape[:1]:
            faults.append(f"{name}_bias {tuple(head.bias.shape)} has to be [V] with V = {len(head.table)}")
    if len(student.hidden) != len(teacher.hidden):
        faults.append(
            f"the student has {len(student.hidden)} positions and the teacher {len(teacher.hidden)}; "
            f"both have to be at the same ones"
        )
    if len(student.table) != len(teacher.table):
        faults.append(
            f"the student's table has {len(student.table)} rows and the teacher's {len(teacher.table)}; "
            f"bring both to one vocabulary first"
        )
    if labels is None and objective.hard_weight > 0.0:
        faults.append(f"hard_weight={objective.hard_weight} needs labels")
    if labels is not None and labels.shape != student.hidden.shape[:1]:
        faults.append(f"labels {tuple(labels.shape)} have to be [T] with T = {len(student.hidden)}")
    if token_tile is not None and token_tile < 1:
        faults.append(f"token_tile={token_tile} has to be at least 1")
    if faults:
        raise InputError(f"linear_distillation: {'; '.join(faults)}")


def _check_labels(labels: Tensor, positions: Tensor, vocabulary: int) -> None:
    wrong = (labels < 0) | (labels >= vocabulary)
    if bool(wrong.any()):
        place = int(wrong.nonzero()[0])
        raise InputError(
            f"linear_distillation: label {int(labels[place])} at position {int(positions[place])} is outside the "
            f"tables, which have rows 0 to {vocabulary - 1}; mark positions to leave out with ignore_index"
        )
