from __future__ import annotations

import math
import os
from dataclasses import fields
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from polycompress.errors import InputError
from polycompress.kernels.rowwise_adamw import RowState, catch_up_, caught_up, next_decay_sum, rowwise_adamw_
from tests.kernels.triton_tools import (
    ARCHITECTURES,
    compile_kernel,
    gpu,
    needs_triton,
    poisoned_memory,
    run_interpreted,
)

BETAS, EPS = (0.9, 0.999), 1e-8


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Truth:
    """The README's equations in Python numbers, one row at a time."""

    def __init__(self, table: Tensor, per_row: bool) -> None:
        self.weights = table.double().cpu().clone()
        self.first = torch.zeros_like(self.weights)
        self.second = torch.zeros_like(self.weights)
        self.count = [0] * len(table)
        self.per_row = per_row

    def step(self, rows: Tensor, grads: Tensor, lr: float, weight_decay: float) -> None:
        self.weights *= 1 - lr * weight_decay  # every row, at every step
        for row, gradient in zip(rows.tolist(), grads.double().cpu(), strict=True):
            self.count[row] += 1
            square = gradient.square()
            if self.per_row:
                square = square.mean().expand_as(square)
            self.first[row] = BETAS[0] * self.first[row] + (1 - BETAS[0]) * gradient
            self.second[row] = BETAS[1] * self.second[row] + (1 - BETAS[1]) * square
            mean = self.first[row] / (1 - BETAS[0] ** self.count[row])
            root = (self.second[row] / (1 - BETAS[1] ** self.count[row])).sqrt()
            self.weights[row] -= lr * mean / (root + EPS)


def compare(
    device: str,
    impl: str,
    *,
    rows: int = 9,
    width: int = 5,
    steps: int = 6,
    kind: torch.dtype = torch.float32,
    grads_kind: torch.dtype = torch.float32,
    per_row: bool = False,
    tolerance: float = 2e-6,
    seed: int = 0,
) -> None:
    """Some steps that each touch some rows, against the equations."""
    table = values(rows, width, seed=seed).to(kind).to(device)
    truth = Truth(table, per_row)
    state = RowState.zeros(table, "row" if per_row else "element")
    generator = torch.Generator().manual_seed(seed)
    decay_sum = 0.0
    for step in range(steps):
        lr, weight_decay = 1e-2 / (step + 1), 0.3
        touched = torch.randperm(rows, generator=generator)[: rows // 2 + 1].sort().values
        grads = values(len(touched), width, seed=step + 1).to(grads_kind)
        on_device = touched.to(device)
        catch_up_(table, on_device, state, decay_sum, impl=impl)
        torch.testing.assert_close(
            table[on_device].cpu().double(), truth.weights[touched], rtol=tolerance, atol=tolerance
        )
        rowwise_adamw_(
            table,
            on_device,
            grads.to(device),
            state,
            lr=lr,
            betas=BETAS,
            eps=EPS,
            weight_decay=weight_decay,
            decay_sum=decay_sum,
            impl=impl,
        )
        decay_sum = next_decay_sum(decay_sum, lr, weight_decay)
        truth.step(touched, grads, lr, weight_decay)
    final = caught_up(table, state, decay_sum)
    assert final.dtype == kind
    torch.testing.assert_close(final.cpu().double(), truth.weights, rtol=tolerance, atol=tolerance)
    assert state.touches.tolist() == truth.count
    torch.testing.assert_close(state.first.cpu().double(), truth.first, rtol=1e-5, atol=1e-6)


def check_all(device: str, impl: str) -> None:
    with poisoned_memory():
        for width in (1, 5, 33, 257):
            compare(device, impl, width=width)
            compare(device, impl, width=width, per_row=True)
        compare(device, impl, rows=1)
        for kind, tolerance in ((torch.bfloat16, 3e-2), (torch.float16, 4e-3)):
            compare(device, impl, kind=kind, tolerance=tolerance)
            compare(device, impl, grads_kind=kind)


def check_views(device: str, impl: str) -> None:
    """Rows of a wider table, gradients with gaps: equal to the same on contiguous tensors, and the gaps untouched."""
    wide = values(8, 20).float().to(device)
    before = wide.clone()
    table, plain = wide[:, 3:14], wide[:, 3:14].clone()
    grads = values(30, 4, seed=1).float().to(device).t()[:, 2:24:2]  # (4, 11)
    rows = torch.tensor([6, 0, 3, 7], device=device)  # distinct, in any order
    for changed in (table, plain):
        state = RowState.zeros(changed)
        given = grads if changed is table else grads.contiguous()
        rowwise_adamw_(changed, rows, given, state, lr=0.1, weight_decay=0.1, decay_sum=-0.2, impl=impl)
        catch_up_(changed, torch.tensor([1, 6], device=device), state, -0.4, impl=impl)
    assert torch.equal(table, plain)
    assert torch.equal(wide[:, :3], before[:, :3])
    assert torch.equal(wide[:, 14:], before[:, 14:])
    assert torch.equal(table[[2, 4, 5]], before[[2, 4, 5], 3:14])  # rows that nobody named
    assert not torch.equal(table[1], before[1, 3:14])


def check_caught_up_or_not(device: str, impl: str) -> None:
    """A row ends with the same bits whether or not it was caught up before the update."""
    for kind in (torch.float32, torch.bfloat16):
        ends = []
        rows = torch.tensor([0, 2], device=device)
        for caught in (True, False):
            table = values(3, 33).to(kind).to(device)
            state = RowState.zeros(table)
            if caught:
                catch_up_(table, rows, state, -0.123, impl=impl)
            rowwise_adamw_(
                table,
                rows,
                values(2, 33, seed=1).float().to(device),
                state,
                lr=0.01,
                weight_decay=0.1,
                decay_sum=-0.123,
                impl=impl,
            )
            ends.append((table, state.decayed))
        assert torch.equal(ends[0][0], ends[1][0])
        assert torch.equal(ends[0][1], ends[1][1])


def body_all(device: str) -> None:
    check_all(device, "triton")


def body_views(device: str) -> None:
    check_views(device, "triton")


def body_caught_up_or_not(device: str) -> None:
    check_caught_up_or_not(device, "triton")


def body_many_touches(device: str) -> None:
    """Bias correction after many touches keeps float32's precision: both moments of a constant gradient are it."""
    table = torch.zeros(2, 3, device=device)
    state = RowState.zeros(table)
    rows = torch.tensor([1], device=device)
    for touches in (0, 10, 100_000):
        state.touches.fill_(touches)
        count = touches + 1
        gradient = 0.7
        state.first.fill_((1 - BETAS[0] ** touches) * gradient)
        state.second.fill_((1 - BETAS[1] ** touches) * gradient**2)
        table.zero_()
        rowwise_adamw_(
            table, rows, torch.full((1, 3), gradient, device=device), state, lr=0.5, eps=0.0, impl="triton"
        )
        torch.testing.assert_close(table[1].cpu(), torch.full((3,), -0.5), rtol=1e-6, atol=0)
        assert int(state.touches[1]) == count


BODIES = [body_all, body_views, body_caught_up_or_not, body_many_touches]


def test_reference_against_the_equations() -> None:
    check_all("cpu", "reference")
    check_views("cpu", "reference")
    check_caught_up_or_not("cpu", "reference")


@given(
    rows=st.integers(1, 12),
    width=st.integers(1, 9),
    steps=st.integers(0, 8),
    per_row=st.booleans(),
    seed=st.integers(0, 99),
)
def test_reference_in_float64(rows: int, width: int, steps: int, per_row: bool, seed: int) -> None:
    compare(
        "cpu",
        "reference",
        rows=rows,
        width=width,
        steps=steps,
        per_row=per_row,
        seed=seed,
        kind=torch.float64,
        grads_kind=torch.float64,
        tolerance=1e-11,
    )


@needs_triton
def test_triton_interpreted() -> None:
    run_interpreted(*BODIES)


@gpu
@pytest.mark.parametrize("body", BODIES)
def test_triton_on_a_gpu(body) -> None:  # noqa: ANN001
    body("cuda")


@needs_triton
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("per_row", [False, True])
def test_compiles_without_a_gpu(architecture: int, kind: str, per_row: bool) -> None:
    from polycompress.kernels.rowwise_adamw import kernel

    numbers = ("lr", "beta1", "beta2", "rest1", "rest2", "log_beta1", "log_beta2", "eps", "shrink")
    decay = {"decay_high": "fp32", "decay_low": "fp32"}
    compile_kernel(
        kernel._rowwise_adamw_kernel,
        {
            "table": f"*{kind}",
            "rows": "*i64",
            "grads": "*fp32",
            "first": "*fp32",
            "second": "*fp32",
            "touches": "*i32",
            "decayed": "*fp64",
            "width": "i32",
            "table_stride": "i64",
            "grads_stride_n": "i64",
            "grads_stride_d": "i64",
            **dict.fromkeys(numbers, "fp32"),
            **decay,
            "next_high": "fp32",
            "next_low": "fp32",
        },
        {"PER_ROW": per_row, "COLUMNS": 1024},
        architecture,
    )
    compile_kernel(
        kernel._catch_up_kernel,
        {
            "table": f"*{kind}",
            "rows": "*i64",
            "decayed": "*fp64",
            "width": "i32",
            "table_stride": "i64",
            **decay,
        },
        {"COLUMNS": 1024},
        architecture,
    )


def dense_adamw(
    table: Tensor,
    gradients: list[Tensor],
    rates: list[float],
    weight_decay: float,
    betas: tuple[float, float] = BETAS,
) -> Tensor:
    parameter = torch.nn.Parameter(table.clone())
    optimiser = torch.optim.AdamW([parameter], betas=betas, eps=EPS, weight_decay=weight_decay)
    for gradient, lr in zip(gradients, rates, strict=True):
        optimiser.param_groups[0]["lr"] = lr
        parameter.grad = gradient
        optimiser.step()
    return parameter.detach()


def lazy_adamw(
    table: Tensor,
    gradients: list[Tensor],
    rates: list[float],
    weight_decay: float,
    betas: tuple[float, float] = BETAS,
) -> Tensor:
    """Rows whose gradient is not all zero are touched."""
    table = table.clone()
    state = RowState.zeros(table)
    decay_sum = 0.0
    for gradient, lr in zip(gradients, rates, strict=True):
        rows = gradient.abs().sum(1).nonzero().squeeze(1)
        catch_up_(table, rows, state, decay_sum)
        rowwise_adamw_(
            table,
            rows,
            gradient[rows],
            state,
            lr=lr,
            betas=betas,
            eps=EPS,
            weight_decay=weight_decay,
            decay_sum=decay_sum,
        )
        decay_sum = next_decay_sum(decay_sum, lr, weight_decay)
    return caught_up(table, state, decay_sum)


def test_agrees_with_adamw_when_every_row_is_touched() -> None:
    table = values(6, 5)
    gradients = [values(6, 5, seed=step) for step in range(1, 41)]
    rates = [1e-2 * (1 + math.sin(step)) for step in range(40)]
    torch.testing.assert_close(
        lazy_adamw(table, gradients, rates, 0.2),
        dense_adamw(table, gradients, rates, 0.2),
        rtol=1e-12,
        atol=1e-13,
    )


def test_agrees_with_adamw_for_rows_never_touched() -> None:
    table = values(6, 5)
    gradients = [torch.zeros(6, 5, dtype=torch.float64) for _ in range(200)]
    rates = [1e-3] * 200
    found = lazy_adamw(table, gradients, rates, 0.1)
    torch.testing.assert_close(found, dense_adamw(table, gradients, rates, 0.1), rtol=1e-12, atol=0)
    torch.testing.assert_close(found, table * (1 - 1e-4) ** 200, rtol=1e-12, atol=0)


def test_agrees_with_adamw_without_momentum_until_touches_end() -> None:
    table = values(3, 5)
    gradients = [values(3, 5, seed=step) for step in range(1, 11)]
    gradients += [torch.zeros(3, 5, dtype=torch.float64)] * 30
    rates = [1e-2] * 40
    torch.testing.assert_close(
        lazy_adamw(table, gradients, rates, 0.2, (0.0, 0.99)),
        dense_adamw(table, gradients, rates, 0.2, (0.0, 0.99)),
        rtol=1e-12,
        atol=1e-13,
    )


def test_late_in_training_dense_adamw_moves_on_by_momentum() -> None:
    """The README's second difference, with its factor."""
    start = torch.zeros(1, 1, dtype=torch.float64)
    nothing, touched = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    before = [nothing] * 9000 + [touched]
    moved = dense_adamw(start, before, [1e-3] * 9001, 0.0)
    later = dense_adamw(start, [*before, nothing, nothing], [1e-3] * 9003, 0.0)
    factor = BETAS[0] / math.sqrt(BETAS[1])
    torch.testing.assert_close(later, moved * (1 + factor + factor**2), rtol=1e-4, atol=0)


def test_a_late_row_moves_by_the_learning_rate() -> None:
    gradients = [torch.zeros(1, 4, dtype=torch.float64) for _ in range(3000)]
    gradients.append(torch.tensor([[1.0, -2.0, 0.5, -3.0]], dtype=torch.float64))
    start = torch.zeros(1, 4, dtype=torch.float64)
    moved = lazy_adamw(start, gradients, [1e-3] * 3001, 0.0)
    torch.testing.assert_close(moved, -1e-3 * gradients[-1].sign(), rtol=1e-6, atol=0)
    dense = dense_adamw(start, gradients, [1e-3] * 3001, 0.0)
    # The README's third difference: dense AdamW oversteps by its own formula.
    factor = 0.1 * math.sqrt((1 - 0.999**3001) / 0.001)
    torch.testing.assert_close(dense, factor * moved, rtol=1e-6, atol=0)
    assert factor > 3


def test_skipped_steps_do_not_move_a_row() -> None:
    touched = torch.ones(1, 2, dtype=torch.float64)
    gradients = [touched] + [torch.zeros(1, 2, dtype=torch.float64)] * 5
    start = torch.zeros(1, 2, dtype=torch.float64)
    assert torch.equal(
        lazy_adamw(start, gradients, [1e-2] * 6, 0.0), lazy_adamw(start, [touched], [1e-2], 0.0)
    )
    dense = dense_adamw(start, gradients, [1e-2] * 6, 0.0)
    assert (dense < 1.5 * lazy_adamw(start, gradients, [1e-2] * 6, 0.0)).all()


def test_catching_up_often_or_once_is_the_same() -> None:
    table = values(3, 4)
    often, state = table.clone(), RowState.zeros(table)
    rows = torch.arange(3)
    decay_sum = 0.0
    for _ in range(1000):
        decay_sum = next_decay_sum(decay_sum, 1e-4, 0.01)
        catch_up_(often, rows, state, decay_sum)
    torch.testing.assert_close(often, table * (1 - 1e-6) ** 1000, rtol=1e-12, atol=0)
    torch.testing.assert_close(caught_up(table, RowState.zeros(table), decay_sum), often, rtol=1e-12, atol=0)
    assert torch.equal(caught_up(often, state, decay_sum), often)


def test_no_decay_changes_nothing_on_catching_up() -> None:
    table = values(3, 4).float()
    state = RowState.zeros(table)
    catch_up_(table, torch.arange(3), state, next_decay_sum(0.0, 0.1, 0.0))
    assert torch.equal(table, values(3, 4).float())


def test_rows_not_named_are_not_read_or_written() -> None:
    table = torch.full((5, 3), math.nan)
    table[2] = 1
    state = RowState.zeros(table)
    rowwise_adamw_(table, torch.tensor([2]), torch.ones(1, 3), state, lr=0.1)
    assert table[2].isfinite().all()
    assert table[[0, 1, 3, 4]].isnan().all()
    assert state.touches.tolist() == [0, 0, 1, 0, 0]


def test_state_takes_memory_when_touched() -> None:
    def resident_mib() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    before = resident_mib()
    table = torch.zeros(1, 1).expand(200_000, 256)  # what would be 195 MiB, and 391 MiB of state
    state = RowState.zeros(table)
    assert resident_mib() - before < 40
    assert float(state.first[::1000].abs().sum()) == 0
    state.first.index_fill_(0, torch.arange(0, 200_000, 2000), 1.0)
    assert resident_mib() - before < 40
    assert float(state.first[::2000].min()) == 1


@pytest.mark.parametrize("second", ["element", "row"])
def test_state_survives_compacting(second: str) -> None:
    table = values(9, 4).float()
    state = RowState.zeros(table, second)
    assert state.second.shape == ((9, 4) if second == "element" else (9,))
    rowwise_adamw_(table, torch.tensor([1, 7]), values(2, 4, seed=1), state, lr=0.1, decay_sum=-0.1)
    catch_up_(table, torch.tensor([4]), state, -0.3)
    compact = state.compact()
    assert compact["rows"].tolist() == [1, 4, 7]
    again = RowState.expanded(table, compact)
    for field in fields(RowState):
        assert torch.equal(getattr(again, field.name), getattr(state, field.name))
    with pytest.raises(InputError, match=r"rows up to 7 and width 4, the table is \(5, 4\)"):
        RowState.expanded(table[:5], compact)
    with pytest.raises(InputError, match="the snapshot is of another model"):
        RowState.expanded(torch.zeros(9, 3), compact)
    fresh = RowState.zeros(table, second)
    assert RowState.expanded(table, fresh.compact()).touches.tolist() == [0] * 9


@pytest.mark.parametrize(("rows", "width"), [(0, 4), (3, 0)])
def test_empty_inputs(rows: int, width: int) -> None:
    table = torch.ones(5, width)
    state = RowState.zeros(table)
    rowwise_adamw_(table, torch.arange(rows), torch.ones(rows, width), state, lr=0.1)
    catch_up_(table, torch.arange(rows), state, -1.0)
    assert torch.equal(table, torch.ones(5, width))


def test_a_parameter_is_changed_in_place() -> None:
    parameter = torch.nn.Parameter(torch.ones(3, 2))
    rowwise_adamw_(parameter, torch.tensor([1]), torch.ones(1, 2), RowState.zeros(parameter), lr=0.1)
    assert parameter[1, 0] < 1
    assert parameter.requires_grad
    assert not caught_up(parameter, RowState.zeros(parameter), 0.0).requires_grad


def test_input_errors() -> None:
    table = torch.ones(4, 2)
    state = RowState.zeros(table)
    rows, grads = torch.tensor([0, 2]), torch.ones(2, 2)
    with pytest.raises(
        InputError, match=r"table must be floating and \(4, 2\) as its state is, got \(5, 2\)"
    ):
        rowwise_adamw_(torch.ones(5, 2), rows, grads, state, lr=0.1)
    with pytest.raises(InputError, match="rows must be contiguous"):
        rowwise_adamw_(torch.ones(2, 4).t(), rows, grads, state, lr=0.1)
    with pytest.raises(InputError, match=r"rows must be \(R,\) int64, got \(2,\) torch.int32"):
        rowwise_adamw_(table, rows.int(), grads, state, lr=0.1)
    with pytest.raises(InputError, match=r"grads must be floating, \(2, 2\).*got \(3, 2\)"):
        rowwise_adamw_(table, rows, torch.ones(3, 2), state, lr=0.1)
    with pytest.raises(InputError, match="row 4 is outside the table, which has rows 0 to 3"):
        rowwise_adamw_(table, torch.tensor([0, 4]), grads, state, lr=0.1)
    with pytest.raises(InputError, match="row -1 is outside"):
        catch_up_(table, torch.tensor([-1]), state, 0.0)
    with pytest.raises(InputError, match="rows must be distinct"):
        rowwise_adamw_(table, torch.tensor([2, 2]), grads, state, lr=0.1)
    with pytest.raises(InputError, match=r"lr must be at least 0, got -0\.1"):
        rowwise_adamw_(table, rows, grads, state, lr=-0.1)
    with pytest.raises(InputError, match="eps must be at least 0, got nan"):
        rowwise_adamw_(table, rows, grads, state, lr=0.1, eps=math.nan)
    with pytest.raises(InputError, match=r"beta2 must be at least 0 and below 1, got 1\.0"):
        rowwise_adamw_(table, rows, grads, state, lr=0.1, betas=(0.9, 1.0))
    with pytest.raises(InputError, match=r"at least 0 and below 1, got 0.5 \* 2 = 1.0"):
        rowwise_adamw_(table, rows, grads, state, lr=0.5, weight_decay=2)
    assert torch.equal(table, torch.ones(4, 2))
    assert state.touches.sum() == 0
